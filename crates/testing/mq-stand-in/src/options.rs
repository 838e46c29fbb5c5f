//! Which options go together, as MQ documents it.

use libmqm_sys as mq;

use crate::wire::Reason;

/// MQOO_INPUT_*.
pub(crate) const INPUT: i32 =
    mq::MQOO_INPUT_AS_Q_DEF | mq::MQOO_INPUT_SHARED | mq::MQOO_INPUT_EXCLUSIVE;
/// All of MQOO_*.
const OPEN: i32 = INPUT
    | mq::MQOO_BROWSE
    | mq::MQOO_OUTPUT
    | mq::MQOO_INQUIRE
    | mq::MQOO_SET
    | mq::MQOO_SAVE_ALL_CONTEXT
    | mq::MQOO_PASS_IDENTITY_CONTEXT
    | mq::MQOO_PASS_ALL_CONTEXT
    | mq::MQOO_SET_IDENTITY_CONTEXT
    | mq::MQOO_SET_ALL_CONTEXT
    | mq::MQOO_ALTERNATE_USER_AUTHORITY
    | mq::MQOO_FAIL_IF_QUIESCING
    | mq::MQOO_BIND_ON_OPEN
    | mq::MQOO_BIND_ON_GROUP
    | mq::MQOO_BIND_NOT_FIXED
    | mq::MQOO_CO_OP
    | mq::MQOO_NO_READ_AHEAD
    | mq::MQOO_READ_AHEAD
    | mq::MQOO_NO_MULTICAST
    | mq::MQOO_RESOLVE_LOCAL_Q
    | mq::MQOO_RESOLVE_NAMES;
/// Of those, what an object that is no queue is opened for.
const OPEN_OTHERS: i32 = mq::MQOO_INQUIRE
    | mq::MQOO_SET
    | mq::MQOO_ALTERNATE_USER_AUTHORITY
    | mq::MQOO_FAIL_IF_QUIESCING;
/// Of those, what says what it is opened for.
const PURPOSE: i32 = INPUT
    | mq::MQOO_BROWSE
    | mq::MQOO_OUTPUT
    | mq::MQOO_INQUIRE
    | mq::MQOO_SET
    | mq::MQOO_RESOLVE_NAMES;
const BROWSE: i32 =
    mq::MQGMO_BROWSE_FIRST | mq::MQGMO_BROWSE_NEXT | mq::MQGMO_BROWSE_MSG_UNDER_CURSOR;
const GET_UNIT: i32 =
    mq::MQGMO_SYNCPOINT | mq::MQGMO_NO_SYNCPOINT | mq::MQGMO_SYNCPOINT_IF_PERSISTENT;
const PROPERTIES: i32 = mq::MQGMO_PROPERTIES_FORCE_MQRFH2
    | mq::MQGMO_NO_PROPERTIES
    | mq::MQGMO_PROPERTIES_IN_HANDLE
    | mq::MQGMO_PROPERTIES_COMPATIBILITY;
/// Of MQGMO_*, what is done here. Groups and segments are single messages to it.
const GET: i32 = BROWSE
    | GET_UNIT
    | PROPERTIES
    | mq::MQGMO_WAIT
    | mq::MQGMO_FAIL_IF_QUIESCING
    | mq::MQGMO_MSG_UNDER_CURSOR
    | mq::MQGMO_ACCEPT_TRUNCATED_MSG
    | mq::MQGMO_CONVERT
    | mq::MQGMO_LOGICAL_ORDER
    | mq::MQGMO_COMPLETE_MSG
    | mq::MQGMO_ALL_MSGS_AVAILABLE
    | mq::MQGMO_ALL_SEGMENTS_AVAILABLE;
/// Of MQGMO_*, what there is and is not done here.
const GET_NOT_DONE: i32 = mq::MQGMO_LOCK
    | mq::MQGMO_UNLOCK
    | mq::MQGMO_MARK_BROWSE_HANDLE
    | mq::MQGMO_MARK_BROWSE_CO_OP
    | mq::MQGMO_UNMARK_BROWSE_CO_OP
    | mq::MQGMO_UNMARK_BROWSE_HANDLE
    | mq::MQGMO_UNMARKED_BROWSE_MSG;
/// MQPMO_*_CONTEXT, of which one goes.
const CONTEXT: i32 = mq::MQPMO_DEFAULT_CONTEXT
    | mq::MQPMO_PASS_IDENTITY_CONTEXT
    | mq::MQPMO_PASS_ALL_CONTEXT
    | mq::MQPMO_SET_IDENTITY_CONTEXT
    | mq::MQPMO_SET_ALL_CONTEXT
    | mq::MQPMO_NO_CONTEXT;
const PUT: i32 = CONTEXT
    | mq::MQPMO_SYNCPOINT
    | mq::MQPMO_NO_SYNCPOINT
    | mq::MQPMO_NEW_MSG_ID
    | mq::MQPMO_NEW_CORREL_ID
    | mq::MQPMO_ALTERNATE_USER_AUTHORITY
    | mq::MQPMO_FAIL_IF_QUIESCING
    | mq::MQPMO_LOGICAL_ORDER
    | mq::MQPMO_ASYNC_RESPONSE
    | mq::MQPMO_SYNC_RESPONSE
    | mq::MQPMO_RESOLVE_LOCAL_Q
    | mq::MQPMO_MD_FOR_OUTPUT_ONLY;

/// What a get does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Looks at the first message.
    BrowseFirst,
    /// Looks at the one behind the cursor.
    BrowseNext,
    /// Looks at the one under the cursor.
    BrowseUnderCursor,
    /// Takes the first.
    Take,
    /// Takes the one under the cursor.
    TakeUnderCursor,
}

impl Mode {
    /// Whether the message stays.
    pub(crate) fn browses(self) -> bool {
        !matches!(self, Mode::Take | Mode::TakeUnderCursor)
    }
}

fn at_most_one(options: i32, of: i32) -> bool {
    (options & of).count_ones() <= 1
}

fn only(options: i32, allowed: i32) -> bool {
    options & !allowed == 0
}

/// Checks the options of an MQOPEN of a queue or of something else.
pub(crate) fn open(options: i32, queue: bool) -> Result<(), Reason> {
    let read_ahead = mq::MQOO_NO_READ_AHEAD | mq::MQOO_READ_AHEAD;
    let bind = mq::MQOO_BIND_ON_OPEN | mq::MQOO_BIND_ON_GROUP | mq::MQOO_BIND_NOT_FIXED;
    let goes = only(options, OPEN)
        && options & PURPOSE != 0
        && at_most_one(options, INPUT)
        && at_most_one(options, read_ahead)
        && at_most_one(options, bind);
    if !goes {
        return Err(mq::MQRC_OPTIONS_ERROR);
    }
    if !queue && !only(options, OPEN_OTHERS) {
        return Err(mq::MQRC_OPTION_NOT_VALID_FOR_TYPE);
    }
    Ok(())
}

/// Checks the options of an MQGET and says what it does.
pub(crate) fn get(options: i32) -> Result<Mode, Reason> {
    if !only(options, GET | GET_NOT_DONE) {
        return Err(mq::MQRC_OPTIONS_ERROR);
    }
    if options & GET_NOT_DONE != 0 {
        return Err(mq::MQRC_FUNCTION_NOT_SUPPORTED);
    }
    if options & mq::MQGMO_PROPERTIES_IN_HANDLE != 0 {
        // There are no handles of messages here, so that none can be right.
        return Err(mq::MQRC_HMSG_ERROR);
    }
    let browse = options & BROWSE;
    let takes = mq::MQGMO_SYNCPOINT | mq::MQGMO_SYNCPOINT_IF_PERSISTENT;
    let goes = at_most_one(options, BROWSE | mq::MQGMO_MSG_UNDER_CURSOR)
        && at_most_one(options, GET_UNIT)
        && at_most_one(options, PROPERTIES)
        && (browse == 0 || options & takes == 0);
    if !goes {
        return Err(mq::MQRC_OPTIONS_ERROR);
    }
    Ok(match browse {
        mq::MQGMO_BROWSE_FIRST => Mode::BrowseFirst,
        mq::MQGMO_BROWSE_NEXT => Mode::BrowseNext,
        mq::MQGMO_BROWSE_MSG_UNDER_CURSOR => Mode::BrowseUnderCursor,
        _ if options & mq::MQGMO_MSG_UNDER_CURSOR != 0 => Mode::TakeUnderCursor,
        _ => Mode::Take,
    })
}

/// Checks the options of an MQPUT.
pub(crate) fn put(options: i32) -> Result<(), Reason> {
    let unit = mq::MQPMO_SYNCPOINT | mq::MQPMO_NO_SYNCPOINT;
    let response = mq::MQPMO_ASYNC_RESPONSE | mq::MQPMO_SYNC_RESPONSE;
    let goes = only(options, PUT)
        && at_most_one(options, CONTEXT)
        && at_most_one(options, unit)
        && at_most_one(options, response);
    if goes {
        Ok(())
    } else {
        Err(mq::MQRC_OPTIONS_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        let error = Err(mq::MQRC_OPTIONS_ERROR);
        assert_eq!(open(0, true), error);
        assert_eq!(open(mq::MQOO_FAIL_IF_QUIESCING, true), error);
        assert_eq!(
            open(mq::MQOO_INPUT_SHARED | mq::MQOO_INPUT_EXCLUSIVE, true),
            error
        );
        assert_eq!(
            open(mq::MQOO_OUTPUT, false),
            Err(mq::MQRC_OPTION_NOT_VALID_FOR_TYPE)
        );
        assert_eq!(open(mq::MQOO_INQUIRE, false), Ok(()));
        let get = |options| super::get(options).err();
        let wrong = Some(mq::MQRC_OPTIONS_ERROR);
        assert_eq!(get(mq::MQGMO_BROWSE_FIRST | mq::MQGMO_BROWSE_NEXT), wrong);
        assert_eq!(get(mq::MQGMO_BROWSE_FIRST | mq::MQGMO_SYNCPOINT), wrong);
        assert_eq!(get(mq::MQGMO_SYNCPOINT | mq::MQGMO_NO_SYNCPOINT), wrong);
        assert_eq!(get(mq::MQGMO_LOCK), Some(mq::MQRC_FUNCTION_NOT_SUPPORTED));
        assert_eq!(get(mq::MQGMO_NONE), None);
        assert_eq!(put(mq::MQPMO_SYNCPOINT | mq::MQPMO_NO_SYNCPOINT), error);
        assert_eq!(
            put(mq::MQPMO_PASS_ALL_CONTEXT | mq::MQPMO_NO_CONTEXT),
            error
        );
        assert_eq!(put(mq::MQPMO_NONE), Ok(()));
    }
}
