//! Layers as figment providers, and the typed configuration they give.

use figment::value::{Dict, Map};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde_json::Value;

use super::schema::Config;

/// The values of one layer.
struct LayerValues {
    name: String,
    values: Dict,
}

impl Provider for LayerValues {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The configuration that layers give together, lowest first; what none of them
/// gives has its default. Each layer is its name and its values by dotted path.
pub(super) fn typed<'a>(
    layers: impl IntoIterator<Item = (String, Vec<(&'a str, Value)>)>,
) -> Result<Config, Box<Error>> {
    let mut figment = Figment::new();
    for (name, values) in layers {
        let mut dict = Dict::new();
        for (path, value) in values {
            insert(
                &mut dict,
                path,
                figment::value::Value::serialize(value).map_err(Box::new)?,
            );
        }
        figment = figment.merge(LayerValues { name, values: dict });
    }
    figment.extract().map_err(Box::new)
}

fn insert(dict: &mut Dict, path: &str, value: figment::value::Value) {
    match path.split_once('.') {
        None => {
            dict.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = dict
                .entry(section.to_owned())
                .or_insert_with(|| figment::value::Value::from(Dict::new()));
            if let figment::value::Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
