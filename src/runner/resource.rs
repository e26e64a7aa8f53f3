//! External inputs of stages: what they are, and what to do when they are not
//! there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::schema::Config;
use crate::net::KnownResource;
use crate::store::{ContentHash, ContentHashes, Project};

/// Something from outside that a stage's result depends on: weights, a
/// tokenizer, a dictionary, a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What the stage uses it for, such as `dictionary`; part of the key.
    pub role: String,
    /// Its name, for people.
    pub name: String,
    /// Where it is or should be; `None` for what is in the program.
    pub path: Option<PathBuf>,
    /// Identity of its content; part of the key. May be known (from a
    /// published checksum) although the content is not here.
    pub identity: Option<ContentHash>,
    /// If it is not here: where it comes from.
    pub missing: Option<MissingResource>,
}

/// Where something that is not here comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingResource {
    /// What `novic hub get` calls it; none for what people have to provide
    /// themselves.
    pub id: Option<String>,
    /// Address, or what it should be.
    pub source: String,
    /// Size in bytes, if known; about that of an embedder's weights.
    pub bytes: Option<u64>,
}

impl MissingResource {
    /// What the table of addresses knows, or what people should bring instead.
    pub fn of(known: Option<&KnownResource>, otherwise: &str) -> MissingResource {
        MissingResource {
            id: known.map(|known| known.id.to_owned()),
            source: known.map_or_else(
                || otherwise.to_owned(),
                |known| format!("{}: {}", known.what, known.address),
            ),
            bytes: known.and_then(|known| known.bytes),
        }
    }
}

impl Resource {
    /// A resource that is here.
    pub fn present(
        role: &str,
        name: &str,
        path: Option<PathBuf>,
        identity: ContentHash,
    ) -> Resource {
        Resource {
            role: role.to_owned(),
            name: name.to_owned(),
            path,
            identity: Some(identity),
            missing: None,
        }
    }

    /// A resource that is not here, of unknown content.
    pub fn absent(
        role: &str,
        name: &str,
        path: Option<PathBuf>,
        missing: MissingResource,
    ) -> Resource {
        Resource {
            role: role.to_owned(),
            name: name.to_owned(),
            path,
            identity: None,
            missing: Some(missing),
        }
    }
}

/// What a stage kind may look at to find its resources.
#[derive(Debug)]
pub struct ResourceQuery<'a> {
    /// The configuration, restricted to what the kind reads.
    pub config: &'a Config,
    /// Kinds of its inputs, in order; empty if it must find its input by
    /// configuration.
    pub inputs: &'a [&'a str],
    /// Content identity of files.
    pub hashes: &'a ContentHashes,
    /// The project, for relative paths.
    pub project: &'a Project,
}
