//! The verbs that are not done: topics, callbacks, message handles, global transactions and
//! changes of attributes. A program that needs one is told 2298, and one that only looks them
//! up when it loads the library runs.

use std::ffi::c_void;

use libmqm_sys as mq;

/// Arguments are passed as registers have them, so that only their number matters.
macro_rules! unsupported {
    ($($(#[$doc:meta])* $verb:ident($($argument:ident: $type:ty),*);)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $verb(
            $($argument: $type,)*
            completion: &mut mq::MQLONG,
            reason: &mut mq::MQLONG,
        ) {
            $(let _ = $argument;)*
            (*completion, *reason) = (mq::MQCC_FAILED, mq::MQRC_FUNCTION_NOT_SUPPORTED);
        }
    )*};
}

type Pointer = *mut c_void;

unsupported! {
    /// MQBEGIN.
    MQBEGIN(_hconn: mq::MQHCONN, _options: Pointer);
    /// MQSET.
    MQSET(
        _hconn: mq::MQHCONN, _hobj: mq::MQHOBJ, _count: mq::MQLONG, _selectors: Pointer,
        _numbers_count: mq::MQLONG, _numbers: Pointer, _length: mq::MQLONG, _texts: Pointer
    );
    /// MQSUB.
    MQSUB(_hconn: mq::MQHCONN, _descriptor: Pointer, _hobj: Pointer, _hsub: Pointer);
    /// MQSUBRQ.
    MQSUBRQ(_hconn: mq::MQHCONN, _hsub: mq::MQHOBJ, _action: mq::MQLONG, _options: Pointer);
    /// MQSTAT.
    MQSTAT(_hconn: mq::MQHCONN, _kind: mq::MQLONG, _status: Pointer);
    /// MQCB.
    MQCB(
        _hconn: mq::MQHCONN, _operation: mq::MQLONG, _callback: Pointer, _hobj: mq::MQHOBJ,
        _descriptor: Pointer, _options: Pointer
    );
    /// MQCTL.
    MQCTL(_hconn: mq::MQHCONN, _operation: mq::MQLONG, _options: Pointer);
    /// MQCRTMH.
    MQCRTMH(_hconn: mq::MQHCONN, _options: Pointer, _hmsg: Pointer);
    /// MQDLTMH.
    MQDLTMH(_hconn: mq::MQHCONN, _hmsg: Pointer, _options: Pointer);
    /// MQBUFMH.
    MQBUFMH(
        _hconn: mq::MQHCONN, _hmsg: mq::MQHMSG, _options: Pointer, _descriptor: Pointer,
        _length: mq::MQLONG, _buffer: Pointer, _data_length: Pointer
    );
    /// MQMHBUF.
    MQMHBUF(
        _hconn: mq::MQHCONN, _hmsg: mq::MQHMSG, _options: Pointer, _name: Pointer,
        _descriptor: Pointer, _room: mq::MQLONG, _buffer: Pointer, _length: Pointer
    );
    /// MQSETMP.
    MQSETMP(
        _hconn: mq::MQHCONN, _hmsg: mq::MQHMSG, _options: Pointer, _name: Pointer,
        _descriptor: Pointer, _kind: mq::MQLONG, _length: mq::MQLONG, _value: Pointer
    );
    /// MQINQMP.
    MQINQMP(
        _hconn: mq::MQHCONN, _hmsg: mq::MQHMSG, _options: Pointer, _name: Pointer,
        _descriptor: Pointer, _kind: Pointer, _room: mq::MQLONG, _value: Pointer,
        _length: Pointer
    );
    /// MQDLTMP.
    MQDLTMP(_hconn: mq::MQHCONN, _hmsg: mq::MQHMSG, _options: Pointer, _name: Pointer);
}
