//! Network switches that run no agent: an SSH session that never loses step, what their output says, and scores played on them.
