//! Whole images from a registry, for who looks into their layers: documents at once, layers as they come.

use std::io::{self, Cursor, Read};

use bytes::{Buf as _, Bytes};
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_policies::image_contract::read::{Blobs, DOCUMENT_BYTES, Descriptor};
use portreeve_policies::layers::Problem;
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use reqwest::Response;
use tokio::runtime::Runtime;

use super::auth::Access;
use super::client::{RegistryClient, ResolvedManifest};
use super::endpoint::root_cause;
use super::failure::{Deadline, Failure, Outcome};
use super::requests::Target;
use super::transport::{Answer, Cap, Request};
use super::wire::{ANY, ANY_MANIFEST};

/// An image of a registry, read by somebody who waits. It must not be used where something else waits already.
pub struct PulledImage<'a> {
    registry: &'a RegistryClient,
    image: &'a ImageReference,
    runtime: &'a Runtime,
    deadline: Deadline,
}

impl<'a> PulledImage<'a> {
    /// Nothing is asked yet; answers after the deadline are none.
    pub fn new(
        registry: &'a RegistryClient,
        image: &'a ImageReference,
        runtime: &'a Runtime,
        deadline: Deadline,
    ) -> Self {
        Self { registry, image, runtime, deadline }
    }

    /// What the reference stands for.
    pub fn root(&self) -> Lookup<Descriptor> {
        let resolved = self.runtime.block_on(self.registry.resolve(self.image, self.deadline));
        match resolved {
            Lookup::Found(ResolvedManifest { digest, media_type, size }) => {
                Lookup::Found(Descriptor::of(&media_type, digest.as_str(), Some(size)))
            }
            Lookup::Absent => Lookup::Absent,
            Lookup::Indeterminate(cause, why) => Lookup::Indeterminate(cause, why),
        }
    }

    fn target(&self) -> Result<Target, Failure> {
        self.registry.inner.requests.target(&self.image.repository, Access::Pull)
    }

    async fn answer(&self, target: &Target, request: &Request<'_>) -> Outcome<Answer> {
        self.registry.inner.requests.send(target, request, self.deadline).await
    }
}

impl Blobs for PulledImage<'_> {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem> {
        // Only what is a digest gets into a URL.
        let digest = Digest::parse(&blob.digest).map_err(|error| Problem::unreadable(error.to_string()))?;
        let target = self.target().map_err(problem)?;
        let is_manifest = ANY_MANIFEST.split(", ").any(|kind| kind == blob.media_type);
        let request = if is_manifest {
            let cap = usize::try_from(DOCUMENT_BYTES).unwrap_or(usize::MAX);
            Request::get(target.url(&format!("manifests/{digest}")), ANY_MANIFEST, Cap::of(cap))
        } else {
            Request::stream(target.url(&format!("blobs/{digest}")), ANY)
        };
        let answer = self.runtime.block_on(self.answer(&target, &request)).map_err(problem)?;
        let Some(answer) = answer else { return Err(Problem::unreadable("the registry does not have it")) };
        Ok(match answer.stream {
            Some(response) => Box::new(Pieces {
                runtime: self.runtime,
                deadline: self.deadline,
                name: request.to_string(),
                response,
                piece: Bytes::new(),
            }),
            None => Box::new(Cursor::new(answer.body)),
        })
    }
}

fn problem(failure: Failure) -> Problem {
    Problem { cause: failure.cause, message: failure.message }
}

/// A body as it comes. Each piece is waited for until the deadline of the whole.
struct Pieces<'a> {
    runtime: &'a Runtime,
    deadline: Deadline,
    name: String,
    response: Box<Response>,
    piece: Bytes,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(async { self.deadline.bound(self.response.chunk()).await });
            let failed = |cause, what: &str| Problem { cause, message: format!("{}: {what}", self.name) };
            match next {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => return Ok(0),
                Some(Err(error)) => return Err(failed(Cause::Unreachable, &root_cause(&error)).into()),
                None => {
                    let what = "not all of it came before the deadline; give it more time with --timeout";
                    return Err(failed(Cause::TimedOut, what).into());
                }
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
