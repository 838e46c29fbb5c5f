/* godown FOLDER [GROUP]: cuts the power of the file system that the folder is on, and of the
 * process group that writes to it. Nothing that is not on its disk already gets there, the
 * journal's last part included.
 *
 * The group is killed first: an fsync that is under way while ext4 shuts down may return 0 for a
 * transaction that is thrown away, and a machine without power tells nobody of it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int count, char **arguments) {
    uint32_t how = NO_LOG_FLUSH;
    int fd = count == 2 || count == 3 ? open(arguments[1], O_RDONLY) : -1;
    long group = count == 3 ? strtol(arguments[2], NULL, 10) : 0;
    if (fd < 0 || (count == 3 && group <= 1)) {
        if (fd < 0 && count > 1)
            perror(arguments[1]);
        else
            fprintf(stderr, "godown FOLDER [GROUP]\n");
        return 1;
    }
    if (group > 1 && kill(-(pid_t)group, SIGKILL) && errno != ESRCH) {
        perror("kill");
        return 1;
    }
    if (ioctl(fd, FS_IOC_SHUTDOWN, &how)) {
        perror(arguments[1]);
        return 1;
    }
    return 0;
}
