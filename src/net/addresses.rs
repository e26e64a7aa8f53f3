//! The one table of default addresses: what users download, from where, to
//! where.

/// A file or archive that users download themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownResource {
    /// Short name in messages.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it comes from.
    pub address: &'static str,
    /// Where it belongs, relative to the working directory.
    pub target: &'static str,
}

/// The model hub.
const MODEL_HUB: &str = "https://huggingface.co";

/// The language model service; `OPENAI_BASE_URL` names another one.
pub(super) const LLM_SERVICE: &str = "https://api.openai.com/v1";

/// Everything the published recipes need beside embedder weights.
pub const KNOWN_RESOURCES: &[KnownResource] = &[
    KnownResource {
        id: "object-nouns",
        what: "the noun dictionary of the original",
        address: "https://github.com/pallgeuer/object_noun_dictionary (datasets/object_noun_curated.json)",
        target: "data/object_nouns.json",
    },
    KnownResource {
        id: "captions",
        what: "captions of the nouns",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/novic/captions_dataset.json",
        target: "extras/data/captions_dataset.json",
    },
    KnownResource {
        id: "world",
        what: "the World image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/world_dataset.zip",
        target: "extras/world",
    },
    KnownResource {
        id: "wiki",
        what: "the Wiki image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/wiki_dataset.zip",
        target: "extras/wiki",
    },
    KnownResource {
        id: "val3k",
        what: "the Val3K image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/val3k_dataset.zip",
        target: "extras/val3k",
    },
    KnownResource {
        id: "cifar10",
        what: "CIFAR-10",
        address: "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        target: "CIFAR/cifar-10-batches-py",
    },
    KnownResource {
        id: "cifar100",
        what: "CIFAR-100",
        address: "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        target: "CIFAR/cifar-100-python",
    },
    KnownResource {
        id: "imagenette",
        what: "Imagenette",
        address: "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
        target: "Imagenette/imagenette2-320",
    },
    KnownResource {
        id: "food101",
        what: "Food-101",
        address: "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
        target: "Food101/food-101",
    },
    KnownResource {
        id: "imagenet-val",
        what: "the ImageNet-1K validation images, sorted into one folder per synset",
        address: "https://image-net.org/data/ILSVRC/2012/ILSVRC2012_img_val.tar",
        target: "ImageNet1K/ILSVRC-CLS/val",
    },
];

/// The entry with this id.
pub fn known_resource(id: &str) -> Option<&'static KnownResource> {
    KNOWN_RESOURCES.iter().find(|resource| resource.id == id)
}

/// Address of a model repository `owner/name`; `HF_ENDPOINT` names a mirror.
pub fn model_repository(repository: &str) -> String {
    let hub = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| MODEL_HUB.to_owned());
    format!("{}/{repository}", hub.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        for (index, resource) in KNOWN_RESOURCES.iter().enumerate() {
            assert!(
                KNOWN_RESOURCES[..index]
                    .iter()
                    .all(|other| other.id != resource.id)
            );
            assert_eq!(known_resource(resource.id), Some(resource));
        }
    }
}
