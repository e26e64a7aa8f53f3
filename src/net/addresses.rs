//! The one table of default addresses: what users download, from where, to
//! where.

use std::path::Path;

/// What becomes of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The file itself.
    File,
    /// An archive that holds the target's folder, or whose content is that of
    /// the target.
    Folder,
    /// An archive whose content belongs into the target, beside what is there.
    Into,
    /// Something that people have to fetch and sort themselves.
    ByHand(&'static str),
}

/// Where a download belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The working directory.
    Project,
    /// The folder of the classification datasets.
    Datasets,
}

/// A file or archive that users download themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownResource {
    /// Short name in messages.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it comes from.
    pub address: &'static str,
    /// For a listing of release files: what the name of the wanted one
    /// contains.
    pub asset: Option<&'static str>,
    /// Where it belongs, relative to its root.
    pub target: &'static str,
    /// What `target` is relative to.
    pub root: Root,
    /// What becomes of it.
    pub form: Form,
    /// Terms of use, as far as its page states them.
    pub licence: &'static str,
    /// Length of the download in bytes, where it is published.
    pub bytes: Option<u64>,
}

/// The model hub.
const MODEL_HUB: &str = "https://huggingface.co";

/// Where people look nouns up: a definition, pictures, a WordNet; `{noun}`
/// stands for the noun.
pub const LOOKUPS: [&str; 3] = [
    "https://www.google.com/search?q=define:+{noun}",
    "https://www.google.com/search?tbm=isch&q={noun}",
    "https://en-word.net/lemma/{noun}",
];

/// The language model service; `OPENAI_BASE_URL` names another one.
pub(super) const LLM_SERVICE: &str = "https://api.openai.com/v1";

/// Weights & Biases; `WANDB_BASE_URL` names another server.
pub const WANDB_SERVICE: &str = "https://api.wandb.ai";

/// Folder of the archives that OpenAI published.
const OPENAI_ARCHIVES: &str = "https://openaipublic.azureedge.net/clip/models";

/// An archive that OpenAI published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAiArchive {
    /// Name of the model.
    pub name: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: &'static str,
}

/// All of them.
pub const OPENAI_MODELS: &[OpenAiArchive] = &[
    OpenAiArchive {
        name: "RN50",
        file: "RN50.pt",
        sha256: "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    },
    OpenAiArchive {
        name: "RN101",
        file: "RN101.pt",
        sha256: "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    },
    OpenAiArchive {
        name: "RN50x4",
        file: "RN50x4.pt",
        sha256: "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    },
    OpenAiArchive {
        name: "RN50x16",
        file: "RN50x16.pt",
        sha256: "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    },
    OpenAiArchive {
        name: "RN50x64",
        file: "RN50x64.pt",
        sha256: "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    },
    OpenAiArchive {
        name: "ViT-B/32",
        file: "ViT-B-32.pt",
        sha256: "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    },
    OpenAiArchive {
        name: "ViT-B/16",
        file: "ViT-B-16.pt",
        sha256: "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    },
    OpenAiArchive {
        name: "ViT-L/14",
        file: "ViT-L-14.pt",
        sha256: "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    },
    OpenAiArchive {
        name: "ViT-L/14@336px",
        file: "ViT-L-14-336px.pt",
        sha256: "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    },
];

impl OpenAiArchive {
    /// Where it is published; part of the identity of its embeddings.
    pub fn address(&self) -> String {
        format!("{OPENAI_ARCHIVES}/{}/{}", self.sha256, self.file)
    }
}

/// Everything the published recipes need beside embedder weights.
pub const KNOWN_RESOURCES: &[KnownResource] = &[
    KnownResource {
        id: "novic/ye2",
        what: "the released model ye2 (the finest labels)",
        address: "https://github.com/pallgeuer/novic/releases/download/v1.0.0/dfn5bl_ft0_ye2_ovod_20240628_142131.zip",
        asset: None,
        target: "outputs/ovod_20240628_142131",
        root: Root::Project,
        form: Form::Into,
        licence: "none stated",
        bytes: None,
    },
    KnownResource {
        id: "novic/ya2",
        what: "the released model ya2 (steadier labels)",
        address: "https://api.github.com/repos/pallgeuer/novic/releases/tags/v1.0.0",
        asset: Some("ovod_20240620_162925"),
        target: "outputs/ovod_20240620_162925",
        root: Root::Project,
        form: Form::Into,
        licence: "none stated",
        bytes: None,
    },
    KnownResource {
        id: "novic/yb3",
        what: "the released model yb3 (faster)",
        address: "https://api.github.com/repos/pallgeuer/novic/releases/tags/v1.0.0",
        asset: Some("ovod_20240626_001447"),
        target: "outputs/ovod_20240626_001447",
        root: Root::Project,
        form: Form::Into,
        licence: "none stated",
        bytes: None,
    },
    KnownResource {
        id: "novic/ta4",
        what: "the released model ta4 (the fastest)",
        address: "https://api.github.com/repos/pallgeuer/novic/releases/tags/v1.0.0",
        asset: Some("ovod_20240610_105233"),
        target: "outputs/ovod_20240610_105233",
        root: Root::Project,
        form: Form::Into,
        licence: "none stated",
        bytes: None,
    },
    KnownResource {
        id: "object-nouns",
        what: "the noun dictionary of the original",
        address: "https://github.com/pallgeuer/novic/raw/HEAD/data/object_nouns.json",
        asset: None,
        target: "data/object_nouns.json",
        root: Root::Project,
        form: Form::File,
        licence: "GPL-3.0 in its own repository",
        bytes: None,
    },
    KnownResource {
        id: "captions",
        what: "captions of the nouns",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/novic/captions_dataset.json",
        asset: None,
        target: "extras/data/captions_dataset.json",
        root: Root::Project,
        form: Form::File,
        licence: "see its page",
        bytes: None,
    },
    KnownResource {
        id: "world",
        what: "the World image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/world_dataset.zip",
        asset: None,
        target: "extras/world",
        root: Root::Project,
        form: Form::Folder,
        licence: "CC BY-NC-SA 4.0",
        bytes: None,
    },
    KnownResource {
        id: "wiki",
        what: "the Wiki image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/wiki_dataset.zip",
        asset: None,
        target: "extras/wiki",
        root: Root::Project,
        form: Form::Folder,
        licence: "CC BY-NC-SA 4.0",
        bytes: None,
    },
    KnownResource {
        id: "val3k",
        what: "the Val3K image set",
        address: "https://www2.informatik.uni-hamburg.de/wtm/corpora/ovic_datasets/val3k_dataset.zip",
        asset: None,
        target: "extras/val3k",
        root: Root::Project,
        form: Form::Folder,
        licence: "CC BY-NC-SA 4.0",
        bytes: None,
    },
    KnownResource {
        id: "cifar10",
        what: "CIFAR-10",
        address: "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        asset: None,
        target: "CIFAR/cifar-10-batches-py",
        root: Root::Datasets,
        form: Form::Folder,
        licence: "none stated",
        bytes: Some(170_498_071),
    },
    KnownResource {
        id: "cifar100",
        what: "CIFAR-100",
        address: "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        asset: None,
        target: "CIFAR/cifar-100-python",
        root: Root::Datasets,
        form: Form::Folder,
        licence: "none stated",
        bytes: Some(169_001_437),
    },
    KnownResource {
        id: "imagenette",
        what: "Imagenette",
        address: "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
        asset: None,
        target: "Imagenette/imagenette2-320",
        root: Root::Datasets,
        form: Form::Folder,
        licence: "none stated",
        bytes: Some(341_553_947),
    },
    KnownResource {
        id: "food101",
        what: "Food-101",
        address: "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
        asset: None,
        target: "Food101/food-101",
        root: Root::Datasets,
        form: Form::Folder,
        licence: "none stated",
        bytes: Some(4_996_278_331),
    },
    KnownResource {
        id: "imagenet-val",
        what: "the ImageNet-1K validation images, sorted into one folder per synset",
        address: "https://image-net.org/data/ILSVRC/2012/ILSVRC2012_img_val.tar",
        asset: None,
        target: "ImageNet1K/ILSVRC-CLS/val",
        root: Root::Datasets,
        form: Form::ByHand(
            "it needs an account; then `novic hub get imagenet-val --from ILSVRC2012_img_val.tar --labels ILSVRC2012_devkit_t12.tar.gz` sorts its 50,000 pictures (a list of pictures and synsets will do instead of the development kit)",
        ),
        licence: "terms of image-net.org",
        bytes: Some(6_744_924_160),
    },
];

/// Embedders at the model hub with their millions of parameters, as their
/// families publish them (open_clip's table of models; model cards).
const HUB_MODELS: &[(&str, u64)] = &[
    ("apple/DFN5B-CLIP-ViT-H-14-378", 987),
    ("apple/DFN5B-CLIP-ViT-H-14", 986),
    ("apple/DFN2B-CLIP-ViT-L-14", 428),
    ("timm/ViT-SO400M-14-SigLIP", 877),
    ("timm/ViT-L-16-SigLIP-256", 652),
    ("timm/ViT-B-16-SigLIP-384", 203),
    ("timm/ViT-B-16-SigLIP", 203),
    ("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", 2540),
    ("laion/CLIP-ViT-g-14-laion2B-s34B-b88K", 1367),
    ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 986),
    ("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 428),
    ("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", 150),
    ("laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", 151),
    ("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 151),
    ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 151),
    ("facebook/metaclip-h14-fullcc2.5b", 986),
    ("openai/clip-vit-large-patch14", 428),
    ("openai/clip-vit-base-patch16", 150),
    ("openai/clip-vit-base-patch32", 151),
];

/// About how many bytes the weights of an embedder at the model hub are, in
/// single precision as they are published.
pub fn hub_model_bytes(repository: &str) -> Option<u64> {
    let found = HUB_MODELS.iter().find(|(name, _)| *name == repository);
    found.map(|(_, millions)| millions * 4_000_000)
}

/// The entry with this id.
pub fn known_resource(id: &str) -> Option<&'static KnownResource> {
    KNOWN_RESOURCES.iter().find(|resource| resource.id == id)
}

/// The entry that brings `path`, of the working directory `project`.
pub fn resource_at(path: &Path, project: &Path) -> Option<&'static KnownResource> {
    let mut of_project = KNOWN_RESOURCES
        .iter()
        .filter(|resource| resource.root == Root::Project);
    of_project.find(|resource| path.starts_with(project.join(resource.target)))
}

/// Address of the interface of Wikipedia, or of another `project` beside it, in
/// a language; `None` for what is no code of a language or name of a project.
pub fn wikipedia(language: &str, project: &str) -> Option<String> {
    let is_name = |name: &str, hyphens: bool| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || hyphens && byte == b'-';
        !name.is_empty() && name.bytes().all(is_plain)
    };
    (is_name(language, true) && is_name(project, false))
        .then(|| format!("https://{language}.{project}.org/w/api.php"))
}

/// Address of a model repository `owner/name`; `HF_ENDPOINT` names a mirror.
pub fn model_repository(repository: &str) -> String {
    format!("{}/{repository}", hub_endpoint())
}

/// Address of the model hub; `HF_ENDPOINT` names a mirror.
pub fn hub_endpoint() -> String {
    let mirror = std::env::var("HF_ENDPOINT")
        .ok()
        .filter(|mirror| !mirror.is_empty());
    let hub = mirror.unwrap_or_else(|| MODEL_HUB.to_owned());
    hub.trim_end_matches('/').to_owned()
}

/// Variable that names a mirror of everything but the model hub:
/// `https://host/path` is looked for at `$NOVIC_MIRROR/host/path`.
pub const MIRROR_VARIABLE: &str = "NOVIC_MIRROR";

/// The address at a mirror, if there is one.
pub fn mirrored(address: &str, mirror: Option<&str>) -> String {
    match (mirror, address.split_once("://")) {
        (Some(mirror), Some((_, rest))) => format!("{}/{rest}", mirror.trim_end_matches('/')),
        _ => address.to_owned(),
    }
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

    #[test]
    fn models_of_the_hub_are_as_large_as_their_parameters() {
        let bytes = hub_model_bytes("timm/ViT-B-16-SigLIP");
        assert_eq!(bytes, Some(812_000_000));
        assert_eq!(hub_model_bytes("novic/drawings"), None);
        for (name, _) in HUB_MODELS {
            let known = crate::embedders::known_specifications();
            assert!(
                known.iter().any(|spec| spec.ends_with(&format!(":{name}"))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_path_belongs_to_the_resource_that_brings_it() {
        let id = |path: &str| {
            resource_at(&Path::new("/p").join(path), Path::new("/p")).map(|known| known.id)
        };
        assert_eq!(id("extras/world"), Some("world"));
        assert_eq!(id("extras/world/fox.jpg"), Some("world"));
        assert_eq!(id("data/object_nouns.json"), Some("object-nouns"));
        assert_eq!(id("my/photos"), None);
        assert_eq!(id("extras/worlds"), None);
        // Where data sets lie is another question.
        assert_eq!(id("CIFAR/cifar-10-batches-py"), None);
    }

    #[test]
    fn wikis_are_named_by_language_and_project() {
        let address = |language, project| wikipedia(language, project);
        let german = "https://de.wikipedia.org/w/api.php".to_owned();
        assert_eq!(address("de", "wikipedia"), Some(german));
        assert!(address("zh-yue", "wikivoyage").is_some());
        for (language, project) in [
            ("", "wikipedia"),
            ("de/", "wikipedia"),
            ("de", "evil.example"),
        ] {
            assert_eq!(address(language, project), None);
        }
    }

    #[test]
    fn mirrors_keep_host_and_path() {
        let address = "https://host.example/a/b.zip";
        assert_eq!(mirrored(address, None), address);
        let mirror = Some("http://localhost:8000/m/");
        assert_eq!(
            mirrored(address, mirror),
            "http://localhost:8000/m/host.example/a/b.zip"
        );
    }
}
