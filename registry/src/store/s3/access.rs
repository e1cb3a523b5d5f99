//! Where a bucket is and how it is spoken to: the address, the environment, and what an error of the client means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::HttpError;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::error::{S3Error, cause_of, innermost, is_no_bucket};
use super::sweep::copy_onto_itself;
use super::transport::{Clock, Connector};
use crate::error::Error;
use crate::location::RegistryLocation;
use crate::text::shorten;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a request is tried again when the server cannot be reached or says that it is busy.
const RETRIES: usize = 4;
/// The variables of which one must be there where credentials are in the environment.
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];

/// A bucket's place, for keys and for messages.
pub(super) struct Access {
    /// The location as it was written, without a `/` at its end.
    pub(super) location: String,
    bucket: String,
    /// What stands before every key: nothing, or parts that end in `/`.
    prefix: String,
    endpoint: String,
    has_credentials: bool,
    /// The server's time.
    pub(super) clock: Arc<Clock>,
}

/// Reads a location and the environment and makes a client.
pub(super) fn connect(
    location: &RegistryLocation,
    variables: impl IntoIterator<Item = (String, String)>,
    silence: Duration,
) -> Result<(AmazonS3, Access), Error> {
    let (bucket, prefix) = parse(location)?;
    let location = location.to_string().trim_end_matches('/').to_owned();
    // The whole of a request has no limit, since content may be long: the transport limits silence instead.
    let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT.min(silence));
    let mut builder = AmazonS3Builder::new().with_client_options(options);
    let (mut endpoint, mut own_endpoint, mut region, mut allow_http, mut has_credentials) =
        (None, None, None, false, false);
    for (name, value) in variables {
        if !name.starts_with("AWS_") || value.is_empty() {
            continue;
        }
        has_credentials |= CREDENTIALS.contains(&name.as_str());
        match name.as_str() {
            "AWS_ENDPOINT_URL_S3" => own_endpoint = Some(value),
            "AWS_ENDPOINT_URL" | "AWS_ENDPOINT" => endpoint = Some(value),
            "AWS_REGION" => region = Some(value),
            "AWS_DEFAULT_REGION" => region = region.or(Some(value)),
            "AWS_ALLOW_HTTP" => allow_http = matches!(value.as_str(), "true" | "1"),
            // The rest by the names that the client knows; what it does not know is other programs'.
            _ => {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let setting = |problem: String, cure| S3Error::Setting { location: location.clone(), problem, cure };
    let endpoint = match own_endpoint.or(endpoint) {
        None => format!("https://s3.{region}.amazonaws.com"),
        Some(endpoint) => {
            let secure = endpoint.starts_with("https://");
            if !secure && !endpoint.starts_with("http://") {
                let problem = format!("the endpoint `{}` is no address of a server", shorten(&endpoint));
                return Err(setting(problem, "write it whole: `export AWS_ENDPOINT_URL=https://HOST`").into());
            }
            if !secure && !allow_http && !is_loopback(&endpoint) {
                let problem = format!("the endpoint `{}` is not encrypted", shorten(&endpoint));
                let cure = "name an encrypted one, or allow this: `export AWS_ENDPOINT_URL=https://HOST`, \
                            `export AWS_ALLOW_HTTP=true`";
                return Err(setting(problem, cure).into());
            }
            builder = builder.with_allow_http(!secure).with_endpoint(endpoint.trim_end_matches('/'));
            endpoint
        }
    };
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };
    let clock = Arc::default();
    let client = builder
        .with_bucket_name(&bucket)
        .with_region(region)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: silence })
        .with_copy_if_not_exists(copy_onto_itself())
        .with_http_connector(Connector { silence, clock: Arc::clone(&clock) })
        .build()
        .map_err(|error| setting(innermost(&error), "see what is set: `env | grep AWS_`"))?;
    Ok((client, Access { location, bucket, prefix, endpoint, has_credentials, clock }))
}

/// Takes an address apart into bucket and prefix.
fn parse(location: &RegistryLocation) -> Result<(String, String), Error> {
    let RegistryLocation::Remote { address, .. } = location else { return Err(Error::Inconsistent) };
    let refuse = |problem| Error::Name { what: "registry location", value: shorten(&location.to_string()), problem };
    let mut parts = address.trim_end_matches('/').split('/');
    let bucket = parts.next().unwrap_or_default();
    let in_bucket = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) || bucket.starts_with(['-', '.']) {
        return Err(refuse("a bucket has 3 to 63 lower-case letters, digits, dots or hyphens"));
    }
    let in_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let mut prefix = String::new();
    for part in parts {
        if part.is_empty() || part.starts_with('.') || !part.bytes().all(in_part) {
            return Err(refuse(
                "a prefix has parts of letters, digits, `-`, `_` and `.`, none of them empty or hidden",
            ));
        }
        prefix.push_str(part);
        prefix.push('/');
    }
    Ok((bucket.to_owned(), prefix))
}

/// Tells whether an address is on this machine, where there is nothing to encrypt for.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.trim_start_matches("http://");
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = if host.starts_with('[') {
        host.trim_start_matches('[').split(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

impl Access {
    /// A key's place in the bucket.
    pub(super) fn path(&self, key: &str) -> Result<Path, Error> {
        // Keys are of a few characters (see `crate::layout`), which paths of the client leave as they are.
        Path::parse(format!("{}{key}", self.prefix)).map_err(|_| Error::Inconsistent)
    }

    /// The key at a place in the bucket; none when it is of others.
    pub(super) fn key_of<'a>(&self, path: &'a Path) -> Option<&'a str> {
        path.as_ref().strip_prefix(&self.prefix)
    }

    /// What an error of the client means.
    pub(super) fn failed(&self, action: &'static str, location: &str, error: object_store::Error) -> Error {
        let (location, answer) = (location.to_owned(), innermost(&error));
        let source = || io::Error::other(answer.clone());
        match &error {
            _ if is_no_bucket(&error) => {
                S3Error::NoBucket { bucket: self.bucket.clone(), endpoint: self.endpoint.clone() }
            }
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                S3Error::Denied { action, location, answer }
            }
            // Removals are asked for in lists, whose answers have a code for each object.
            _ if answer.contains("(code: AccessDenied)") => S3Error::Denied { action, location, answer },
            // Without credentials in the environment, the client asks the machine for its role.
            _ if !self.has_credentials && (cause_of::<HttpError>(&error).is_some() || is_about_role(&error)) => {
                S3Error::NoCredentials { action, location, source: source() }
            }
            _ if cause_of::<HttpError>(&error).is_some() => {
                S3Error::Unreachable { action, location, endpoint: self.endpoint.clone(), source: source() }
            }
            _ => S3Error::Answer { action, location, answer },
        }
        .into()
    }
}

/// Tells whether an error comes from asking the machine for its role.
fn is_about_role(error: &object_store::Error) -> bool {
    let text = error.to_string();
    text.contains("169.254.169.254") || text.contains("/latest/meta-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<(String, String), Error> {
        parse(&text.parse().unwrap())
    }

    #[test]
    fn addresses_are_taken_apart_and_odd_ones_refused() {
        assert_eq!(place("s3://models").unwrap(), ("models".into(), String::new()));
        assert_eq!(place("s3://my.models-1/a/b_c/").unwrap(), ("my.models-1".into(), "a/b_c/".into()));
        for odd in
            ["s3://ab", "s3://Models", "s3://-ab", "s3://models/../x", "s3://models//x", "s3://models/a b", "s3://m?x"]
        {
            assert!(place(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback() {
        for here in ["http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000", "http://127.8.8.8"] {
            assert!(is_loopback(here), "{here}");
        }
        for away in
            ["http://example.org", "http://127.0.0.1.example.org", "http://localhost.example.org:80", "http://10.0.0.1"]
        {
            assert!(!is_loopback(away), "{away}");
        }
    }
}
