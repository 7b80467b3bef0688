//! Tracing set-up. What people said is never logged above `trace`.
