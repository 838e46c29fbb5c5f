/* godown FOLDER: cuts the power of the file system that the folder is on. Nothing that is
 * not on its disk already gets there, the journal's last part included. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int count, char **arguments) {
    uint32_t how = NO_LOG_FLUSH;
    int fd = count == 2 ? open(arguments[1], O_RDONLY) : -1;
    if (fd < 0 || ioctl(fd, FS_IOC_SHUTDOWN, &how)) {
        perror(count == 2 ? arguments[1] : "godown FOLDER");
        return 1;
    }
    return 0;
}
