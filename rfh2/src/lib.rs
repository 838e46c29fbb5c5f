//! MQRFH2, the header that carries JMS messages through IBM MQ.
#![forbid(unsafe_code)]
