//! The lease of a folder: a lock on the folder itself, which ends with the process that holds it.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AGAIN, RESIGN};
use crate::runtime::leader::{EVERY, Epoch, LeadershipLost, Seat};
use crate::runtime::metrics::LeaderMetrics;

/// A term of a lock has no end of its own.
const FOR_GOOD: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// Waits for the lock, leads while it is held, and gives it back at the shutdown. The term is the one after `known`.
pub async fn run((folder, known): (PathBuf, Epoch), seat: Seat, metrics: LeaderMetrics, shutdown: CancellationToken) {
    let Some(lock) = locked(&folder, &shutdown).await else { return };
    let mut tenure = seat.begin(known.next(), Instant::now() + FOR_GOOD);
    metrics.leading.set(1);
    shutdown.cancelled().await;
    let until = Instant::now() + RESIGN;
    tenure.ask_back(LeadershipLost::Released);
    while !tenure.is_given_back() && Instant::now() < until {
        tokio::time::sleep(AGAIN).await;
    }
    drop(tenure);
    drop(lock);
}

async fn locked(folder: &PathBuf, shutdown: &CancellationToken) -> Option<File> {
    let mut is_said = false;
    loop {
        let reason = match File::open(folder).map(|file| (file.try_lock(), file)) {
            Ok((Ok(()), file)) => return Some(file),
            Ok((Err(TryLockError::WouldBlock), _)) => "another process holds its lock".to_owned(),
            Ok((Err(TryLockError::Error(error)), _)) | Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(folder = %folder.display(), reason, "nothing is written to this folder by this process");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_process_at_a_time_writes_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let other = File::open(folder.path()).unwrap();
        other.try_lock().unwrap();
        let (seat, mut watch) = Seat::new();
        let shutdown = CancellationToken::new();
        let known = (folder.path().to_owned(), Epoch::new(4));
        let running = run(known, seat, LeaderMetrics::default(), shutdown.clone());
        let check = async {
            assert!(watch.now().is_none());
            drop(other);
            let leading = watch.leading().await;
            assert_eq!((leading.epoch(), leading.check()), (Epoch::new(5), Ok(())));
            drop(leading);
            shutdown.cancel();
        };
        tokio::join!(running, check);
        File::open(folder.path()).unwrap().try_lock().unwrap();
    }
}
