//! Deliberate faults, for tests alone: each must be caught by the verification, or the verification is worth nothing.
//!
//! A build without debug assertions has none of them: [`Mutations::has`] is then the constant `false`.

/// One deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// The log clock counts time during which another member led.
    ClockCountsOtherTerms,
    /// The table grants a lease without looking at the epoch the asker expected.
    GrantWithoutCompare,
    /// The table believes an asker's own clock about expiry.
    GrantByAskersClock,
    /// The table renews whatever epoch the asker names.
    RenewAnyEpoch,
    /// The table grants without asking who else could hold acknowledged writes.
    GrantWithoutSyncGate,
    /// The table counts reports of an earlier round.
    CountStaleReports,
    /// The table counts one node's reports as often as they arrive.
    CountDuplicateReports,
    /// The table counts reports of nodes that hold more than the asker.
    GrantToLesserPosition,
    /// The table forgets the synchronous sets of earlier epochs at a grant.
    ForgetOldSyncSets,
    /// The table lets changes bind before the holder has acknowledged them.
    BindUnacknowledgedChange,
    /// The table grants a handed-over lease to anybody, whatever they hold.
    HandOverToAnybody,
    /// The table grants at expiry although the settings demand a proof.
    GrantWithoutProof,
    /// The node never fences.
    NeverFence,
    /// The node tells the watchdog to wait for ever.
    WatchdogWaitsForEver,
    /// The node counts an acknowledgement from when it arrived, not from when it asked.
    LateAcknowledgement,
    /// The node counts the whole term of the lease, without slack.
    ForgetSlack,
    /// The node says it is fenced when it has begun to fence.
    ConfirmBeforeVerified,
    /// The node serves an epoch again that it has given up.
    ServeSpentEpoch,
    /// The node serves again as soon as it is fenced and has the lease.
    NoShadowLease,
    /// The node counts on promises of some of the candidates.
    PromiseOfSome,
    /// The node counts one candidate's promise as many.
    CountDuplicatePromises,
    /// The node's promise binds it when it asks, not when it was granted.
    IgnorePromiseAtGrant,
    /// The node begins to serve by what the others promise, though the group's own word is too old.
    StartByPromise,
    /// The node asks for the lease while it is rebuilt, if the order to do so is forgotten.
    SeekWhileRebuilding,
    /// The node forgets what it promised when it restarts.
    ForgetPromiseAtRestart,
    /// The node reports what it holds while it goes on receiving.
    SkipDetach,
    /// The node receives again without telling the group that its report is void.
    AttachWithoutFollow,
    /// The node starts the workload before it is granted the lease.
    StartBeforeGrant,
    /// The node starts the workload as soon as it restarts.
    StartAtRestart,
    /// The node says a new synchronous set is in force when it has asked for it.
    CommitSyncAtOnce,
    /// The node changes the synchronous set before the group knows.
    ApplySyncFirst,
    /// The node gives its lease up before the workload has stopped.
    ReleaseBeforeStopped,
    /// The node takes a failed rung of the ladder for a success.
    TrustFailedRung,
    /// The node never tries the next rung.
    NoEscalation,
    /// The node never asks for the lease.
    NeverAcquire,
    /// A node that serves without a lease goes on when it learns that another has served since.
    NeverYield,
    /// The holder yields to one who still serves an earlier epoch.
    YieldToEarlier,
    /// The watchdog ends a workload that may serve without a lease.
    WatchdogThoughAllowed,
    /// Nobody is told that a node serves without a lease.
    DegradeSilently,
    /// What was written without a lease is not told to anybody after the node has yielded.
    ForgetReconcile,
    /// The node forgets when it restarts that it served without a lease.
    ForgetDegradedAtRestart,
    /// What was written without a lease is to be merged, again and again.
    ReconcileForEver,
    /// What was written without a lease is to be merged while it is still being written.
    ReconcileBeforeStopped,
    /// A fence begins without a word to the flight recorder.
    TurnUnrecorded,
    /// The node starts an ended workload again before it is certain that nothing of it is left.
    ReviveBeforeVerified,
    /// The node takes a restart of its workload for a renewal of its lease.
    ReviveRenews,
    /// A workload that is started again acknowledges writes by itself.
    ReviveUngated,
    /// A workload that ends again and again is started again and again.
    ReviveForEver,
    /// The node takes settings that its own ledger does not declare.
    TakeAnySettings,
    /// A node whose agent ends gives its lease up before the workload has stopped.
    LeaveBeforeStopped,
    /// The table forgets a withdrawn cluster that is still held.
    ForgetHeldCluster,
    /// The table counts the epochs of a cluster that is declared again from the beginning.
    ForgetWithdrawnEpochs,
    /// The table forgets who could have acknowledged writes of a cluster that is declared again.
    ForgetWithdrawnSets,
    /// The table counts the versions of a cluster that is declared again from the beginning.
    ForgetWithdrawnVersions,
    /// The table grants the lease of a withdrawn cluster.
    GrantWithdrawn,
    /// A withdrawal ends the lease, whoever still serves by it.
    WithdrawalEndsLease,
    /// The lease of a holder that is a candidate no more ends at once.
    RemovalEndsLease,
    /// The table grants the lease to a node that is no candidate any more.
    GrantToRemoved,
}

impl Mutation {
    /// Every one of them.
    pub const ALL: [Self; 58] = [
        Self::ClockCountsOtherTerms,
        Self::GrantWithoutCompare,
        Self::GrantByAskersClock,
        Self::RenewAnyEpoch,
        Self::GrantWithoutSyncGate,
        Self::CountStaleReports,
        Self::CountDuplicateReports,
        Self::GrantToLesserPosition,
        Self::ForgetOldSyncSets,
        Self::BindUnacknowledgedChange,
        Self::HandOverToAnybody,
        Self::GrantWithoutProof,
        Self::NeverFence,
        Self::WatchdogWaitsForEver,
        Self::LateAcknowledgement,
        Self::ForgetSlack,
        Self::ConfirmBeforeVerified,
        Self::ServeSpentEpoch,
        Self::NoShadowLease,
        Self::PromiseOfSome,
        Self::CountDuplicatePromises,
        Self::IgnorePromiseAtGrant,
        Self::StartByPromise,
        Self::SeekWhileRebuilding,
        Self::ForgetPromiseAtRestart,
        Self::SkipDetach,
        Self::AttachWithoutFollow,
        Self::StartBeforeGrant,
        Self::StartAtRestart,
        Self::CommitSyncAtOnce,
        Self::ApplySyncFirst,
        Self::ReleaseBeforeStopped,
        Self::TrustFailedRung,
        Self::NoEscalation,
        Self::NeverAcquire,
        Self::NeverYield,
        Self::YieldToEarlier,
        Self::WatchdogThoughAllowed,
        Self::DegradeSilently,
        Self::ForgetReconcile,
        Self::ForgetDegradedAtRestart,
        Self::ReconcileForEver,
        Self::ReconcileBeforeStopped,
        Self::TurnUnrecorded,
        Self::ReviveBeforeVerified,
        Self::ReviveRenews,
        Self::ReviveUngated,
        Self::ReviveForEver,
        Self::TakeAnySettings,
        Self::LeaveBeforeStopped,
        Self::ForgetHeldCluster,
        Self::ForgetWithdrawnEpochs,
        Self::ForgetWithdrawnSets,
        Self::ForgetWithdrawnVersions,
        Self::GrantWithdrawn,
        Self::WithdrawalEndsLease,
        Self::RemovalEndsLease,
        Self::GrantToRemoved,
    ];
}

/// The deliberate faults of one state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutations(u64);

impl Mutations {
    /// None, as in every build that is used.
    pub const NONE: Self = Self(0);

    /// One of them.
    pub const fn only(mutation: Mutation) -> Self {
        Self(1 << mutation as u64)
    }

    /// Whether this fault is switched on.
    pub(crate) const fn has(self, mutation: Mutation) -> bool {
        cfg!(debug_assertions) && self.0 & (1 << mutation as u64) != 0
    }
}
