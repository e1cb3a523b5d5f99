//! Small packages to publish, each with a plausible file for everything that it names.

use std::fs;
use std::path::Path;

use kadapter_registry::Error;
use kadapter_registry::package::{Backbone, Content, Package};

/// Parses what a test knows to be right.
pub(crate) fn parse<T: std::str::FromStr<Err = Error>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A safetensors file with one tensor `weight` of two floats, different for each seed.
pub(crate) fn weights(seed: u8) -> Vec<u8> {
    let header = br#"{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}     "#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([seed; 8]);
    file
}

/// A package without content to fill in.
pub(crate) fn package(name: &str, version: &str, content: Content) -> Package {
    Package {
        name: parse(name),
        version: parse(version),
        license: parse("MIT"),
        description: format!("What {name} is"),
        attribution: None,
        content,
    }
}

/// The content of a backbone.
pub(crate) fn backbone_content() -> Content {
    Content::Backbone(Backbone {
        architecture: "roberta".to_owned(),
        config: parse("config.json"),
        weights: parse("weights.safetensors"),
        tokenizer: parse("tokenizer.json"),
    })
}

/// Writes a package directory: package file, card, and a plausible file for everything that is named.
pub(crate) fn write_package(directory: &Path, package: &Package, seed: u8) {
    fs::create_dir_all(directory).unwrap();
    package.write(directory).unwrap();
    let put = |path: &str, content: &[u8]| {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("README.md", format!("# {}\n", package.name).as_bytes());
    match &package.content {
        Content::Backbone(backbone) => {
            put(backbone.config.as_str(), b"{\"hidden_size\":2}");
            put(backbone.tokenizer.as_str(), b"{\"version\":\"1.0\"}");
            put(backbone.weights.as_str(), &weights(seed));
        }
        Content::Plugin(plugin) => {
            for (target, path) in &plugin.libraries {
                put(path.as_str(), format!("library for {target} {seed}").as_bytes());
            }
        }
        Content::Adapter(adapter) => put(adapter.weights.as_str(), &weights(seed)),
        Content::Task(task) => {
            for (index, variant) in (0_u8..).zip(&task.variants) {
                put(variant.weights.as_str(), &weights(seed.wrapping_add(index)));
            }
        }
    }
}
