//! A stand-in for IBM MQ in tests.
