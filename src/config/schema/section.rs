//! Sections: the macro that declares the fields of one and everything known
//! about them in one place.

use serde_json::Value;

use super::key::Key;

/// What every section can do by the names of its fields.
pub trait Section: Default {
    /// Appends the descriptions of its leaves, those of sections inside it last.
    fn collect(keys: &mut Vec<&'static Key>);

    /// Canonical JSON of the leaf with this name (dotted, relative to the section).
    fn get(&self, name: &str) -> Option<Value>;

    /// Sets the leaf with this name. The value must be of the leaf's kind, as
    /// reading a layer makes it.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), SetError>;
}

/// Why a leaf could not be set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// No leaf has this name.
    #[error("there is no field `{0}`")]
    NoField(String),
    /// The value has the wrong type.
    #[error("wrong value: {0}")]
    Value(#[from] serde_json::Error),
}

/// Declares a section: `field: Type = default => properties;` per leaf, with
/// the methods of [`Key`] as properties, and sections inside it after `with`.
/// A field whose name is a Rust keyword gets its name in brackets.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        pub struct $name:ident($path:literal) {
            $(
                $(#[doc = $doc:literal])*
                $field:ident $([$key:literal])? : $type:ty = $default:expr => $($method:ident $args:tt).+;
            )*
        }
        $( with { $( $(#[doc = $sub_doc:literal])* $sub:ident: $sub_type:ident, )+ } )?
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
            $($( $(#[doc = $sub_doc])* pub $sub: $sub_type, )+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: $default, )*
                    $($( $sub: Default::default(), )+)?
                }
            }
        }

        impl $name {
            const KEYS: &'static [$crate::config::schema::Key] = &[$(
                $crate::config::schema::Key::new::<$type>(
                    concat!($path, ".", section!(@name $field $($key)?)),
                    concat!($($doc, "\n"),*),
                    || $crate::config::schema::leaf::Leaf::to_json(&{
                        let value: $type = $default;
                        value
                    }),
                )
                $( .$method $args )+
            ),*];
        }

        impl $crate::config::schema::section::Section for $name {
            fn collect(keys: &mut Vec<&'static $crate::config::schema::Key>) {
                keys.extend(Self::KEYS);
                $($( <$sub_type as $crate::config::schema::section::Section>::collect(keys); )+)?
            }

            fn get(&self, name: &str) -> Option<serde_json::Value> {
                $(
                    if name == section!(@name $field $($key)?) {
                        return Some($crate::config::schema::leaf::Leaf::to_json(&self.$field));
                    }
                )*
                $($(
                    if let Some(rest) = name.strip_prefix(concat!(stringify!($sub), ".")) {
                        return $crate::config::schema::section::Section::get(&self.$sub, rest);
                    }
                )+)?
                None
            }

            fn set(
                &mut self,
                name: &str,
                value: &serde_json::Value,
            ) -> Result<(), $crate::config::schema::section::SetError> {
                $(
                    if name == section!(@name $field $($key)?) {
                        self.$field = <$type as serde::Deserialize>::deserialize(value)?;
                        return Ok(());
                    }
                )*
                $($(
                    if let Some(rest) = name.strip_prefix(concat!(stringify!($sub), ".")) {
                        return $crate::config::schema::section::Section::set(
                            &mut self.$sub, rest, value,
                        );
                    }
                )+)?
                Err($crate::config::schema::section::SetError::NoField(name.to_owned()))
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
}

pub(crate) use section;
