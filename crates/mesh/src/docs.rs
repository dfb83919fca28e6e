//! Documents: small values that one node publishes and others follow.
