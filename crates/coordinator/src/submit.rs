//! Taking entries: from their authors, from other coordinators that were given them, and from strangers whom the recovery
//! keys vouch for.

use protocols::control::{Denied, OFFER_BLOBS_MAX, Offer, Receipt, SubmitError};
use protocols::enroll::{EnrollError, Enrolled};
use protocols::entry::{Body, Head};
use protocols::incoming::Incoming;
use protocols::{NodeId, SignedEntry, VerifiedEntry};

use crate::admission::admit;
use crate::coordinator::{Coordinator, lock};
use crate::order::AppendError;

/// The largest entry that is taken from a stranger, in bytes.
const RECOVERY_BYTES_MAX: usize = 64 * 1024;

/// Whoever is away while it changes would look for the old key for ever: nothing else leads to a fleet's coordinators.
const COORDINATORS_KEY: &str = "change a coordinator's key, by which tickets and nodes find it: make a key for another \
     one, flt coordinator init; enroll it, flt admin coordinator enroll; let it order, flt admin coordinator appoint; and \
     retire this one, flt admin coordinator retire";

impl Coordinator {
    pub(crate) async fn submit(&self, caller: NodeId, signed: SignedEntry) -> Result<Receipt, SubmitError> {
        self.member(caller)?;
        let verified = verify(signed).await.map_err(SubmitError::Unverified)?;
        let fellow = self.state().is_coordinator(caller);
        self.may_hand_in(caller, fellow, &verified)?;
        let head = self.enter(&verified, fellow).await?;
        Ok(Receipt { head })
    }

    /// Who may bring which entry. Whether it may be appended is for the ledger's rules to say.
    fn may_hand_in(&self, caller: NodeId, fellow: bool, entry: &VerifiedEntry) -> Result<(), SubmitError> {
        let (body, author) = (&entry.entry().body, entry.entry().author);
        let state = self.state();
        if matches!(body, Body::Rotate(_)) && state.is_coordinator(author) {
            return Err(SubmitError::Denied(Denied::NotAllowed(COORDINATORS_KEY.into())));
        }
        let may = match body {
            Body::Genesis(_) => false,
            // Redeemed by the coordinator that was asked, which signs the entry itself.
            Body::Redeem(_) => fellow && author == caller,
            // By whoever's key it is that changes.
            Body::Rotate(_) => fellow || author == caller || state.admins().contains_key(&caller),
            _ => fellow || !state.is_agent(caller),
        };
        if may {
            return Ok(());
        }
        if state.is_agent(caller) && !matches!(body, Body::Redeem(_) | Body::Genesis(_)) {
            // What is wrong with the entry itself says more than who brought it.
            state.as_ref().clone().apply(entry)?;
        }
        Err(SubmitError::Denied(Denied::NotAllowed(match body {
            Body::Redeem(_) | Body::Genesis(_) => "write this entry, which only coordinators do".into(),
            Body::Rotate(_) => "change another's key".into(),
            _ => "submit entries, which agents do not have beyond a new key of their own".into(),
        })))
    }

    /// Appends an entry, or hands it on to the coordinator that orders. One that was handed on already is not again.
    async fn enter(&self, verified: &VerifiedEntry, handed_on: bool) -> Result<Head, SubmitError> {
        let head = Head { seq: verified.seq(), hash: verified.hash() };
        // The answer to the first try may have got lost: the same entry again is answered alike.
        if self.is_here(head) {
            return Ok(head);
        }
        let mine = self.chair.is_mine();
        if self.chair.as_member().is_some() && verified.seq() > self.state().head().seq + 1 {
            // Its author has seen on another member what is about to arrive here.
            if let Some(hash) = verified.entry().prev {
                self.chair.echoed(Head { seq: verified.seq() - 1, hash }).await;
            }
        }
        if handed_on && !mine {
            return Err(SubmitError::StaleHead { head: self.state().head() });
        }
        if mine {
            let kinds = lock(&self.kinds);
            admit(&self.state(), &kinds, verified, (self.clock)())?;
        }
        if mine {
            self.fits_group(verified).await.map_err(|why| SubmitError::Withheld { why })?;
        }
        self.check_blobs(verified).await?;
        let entry = verified.entry();
        match self.append(verified).await {
            Ok(head) => {
                tracing::info!(seq = head.seq, verb = entry.body.verb(), author = %entry.author, "entry appended");
                Ok(head)
            }
            Err(AppendError::Stale(head)) => Err(SubmitError::StaleHead { head }),
            Err(AppendError::Refused(refusal)) => Err(SubmitError::Refused(refusal)),
            Err(AppendError::Unverified(why)) => Err(SubmitError::Unverified(why)),
            Err(AppendError::Rejected(rejected)) => Err(rejected),
            Err(AppendError::Storage(why)) => {
                tracing::error!(%why, "cannot store an entry");
                Err(SubmitError::Storage(why))
            }
        }
    }

    /// The one that orders must have the blobs too: it is offered what it lacks, once.
    async fn append(&self, verified: &VerifiedEntry) -> Result<Head, AppendError> {
        match self.order.append(verified.signed().clone()).await {
            Err(AppendError::Rejected(SubmitError::MissingBlob(_))) => {
                self.hand_over_blobs(verified).await;
                self.order.append(verified.signed().clone()).await
            }
            other => other,
        }
    }

    async fn hand_over_blobs(&self, verified: &VerifiedEntry) {
        let orderer = self.chair.orderers().first().copied().unwrap_or_else(|| self.state().orderer());
        let blobs = self.blobs_of(verified).await;
        for part in blobs.chunks(OFFER_BLOBS_MAX) {
            let request = Offer { blobs: part.to_vec(), from: self.wire.addr() };
            // What could not be handed over shows when the entry is tried again.
            let Ok(answers) = self.wire.control(orderer).server_streaming(request, 16).await else { return };
            let mut answers = Incoming::new(answers);
            while let Ok(Some(answer)) = answers.next().await {
                if let Err(denied) = answer {
                    tracing::warn!(%denied, "the coordinator that orders does not take the blobs of an entry");
                    return;
                }
            }
        }
    }

    /// An entry that the recovery keys approved, by somebody without rights.
    pub(crate) async fn recover(&self, signed: SignedEntry) -> Result<Enrolled, EnrollError> {
        let _permit = self.enrolments.try_acquire().map_err(|_| EnrollError::Busy)?;
        if signed.bytes.len() > RECOVERY_BYTES_MAX {
            return Err(EnrollError::Unverified(format!("it has more than {RECOVERY_BYTES_MAX} bytes")));
        }
        let verified = verify(signed).await.map_err(EnrollError::Unverified)?;
        if !matches!(verified.entry().body, Body::Recover(_)) {
            return Err(EnrollError::Unverified("a stranger may hand in a recovery, and nothing else".into()));
        }
        let head = Head { seq: verified.seq(), hash: verified.hash() };
        if self.is_here(head) {
            return Ok(Enrolled { head });
        }
        // Judged here first: a stranger's word alone makes nobody else work.
        let mut state = self.state().as_ref().clone();
        if verified.entry().prev != Some(state.head().hash) {
            return Err(EnrollError::StaleHead { head: state.head() });
        }
        state.apply(&verified)?;
        match self.enter(&verified, false).await {
            Ok(head) => Ok(Enrolled { head }),
            Err(SubmitError::StaleHead { head }) => Err(EnrollError::StaleHead { head }),
            Err(SubmitError::Refused(refusal)) => Err(EnrollError::Refused(refusal)),
            Err(SubmitError::Storage(why)) => Err(EnrollError::Storage(why)),
            Err(SubmitError::Unverified(why)) => Err(EnrollError::Unverified(why)),
            Err(other) => Err(EnrollError::Unavailable(other.to_string())),
        }
    }
}

async fn verify(signed: SignedEntry) -> Result<VerifiedEntry, String> {
    let verified = tokio::task::spawn_blocking(move || signed.verify()).await;
    verified.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
