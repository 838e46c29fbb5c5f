//! Tests on real processes. They measure time, so they run one at a time.

mod balancer;
