//! What the coordinators of a group say to one another, as each of them decodes it. A test of the crate `quorum` tries it
//! with the stored seeds, which are what a group of three once said.

use quorum::{Call, Reply};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Calls after a zero, replies after anything else.
pub fn group(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((0, call)) => packed::<Call>(call).is_some_and(|call| {
            // Who may say it is asked of each before it is looked into.
            let _asked = call.is_between_members();
            true
        }),
        Some((_, reply)) => packed::<Reply>(reply).is_some(),
        None => false,
    }
}

/// What was decoded can be sent on, and means the same to who receives it.
fn packed<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = postcard::from_bytes(bytes).ok()?;
    let sent = postcard::to_stdvec(&value).expect("what was decoded encodes");
    let arrived: T = postcard::from_bytes(&sent).expect("what was encoded decodes");
    assert_eq!(postcard::to_stdvec(&arrived).expect("as before"), sent);
    Some(value)
}
