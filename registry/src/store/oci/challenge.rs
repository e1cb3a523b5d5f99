//! Challenges: what a registry asks for in `WWW-Authenticate` (RFC 9110, section 11).

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a name and a password.
    Basic,
    /// With a token, which another server gives.
    Bearer {
        /// The address of that server.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads a header's challenges; those of other kinds are left out.
    pub(super) fn parse(header: &str) -> Vec<Self> {
        let mut schemes: Vec<(&str, Vec<(String, String)>)> = Vec::new();
        let mut rest = header;
        while let Some((part, after)) = next_part(rest) {
            rest = after;
            // `Scheme key=value` opens a challenge, `key=value` goes on with it, `Scheme` stands alone.
            let (scheme, parameter) = match part.split_once(' ') {
                Some((scheme, parameter)) if !scheme.contains('=') => (Some(scheme), parameter.trim()),
                _ if part.contains('=') => (None, part),
                _ => (Some(part), ""),
            };
            if let Some(scheme) = scheme {
                schemes.push((scheme, Vec::new()));
            }
            if let (Some((_, parameters)), Some((key, value))) = (schemes.last_mut(), parameter.split_once('=')) {
                parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        schemes.into_iter().filter_map(|(scheme, parameters)| Self::of(scheme, &parameters)).collect()
    }

    fn of(scheme: &str, parameters: &[(String, String)]) -> Option<Self> {
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            Some(Self::Basic)
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer { realm: value("realm")?, service: value("service") })
        } else {
            None
        }
    }
}

/// Splits off what stands before the next comma that is not in quotes.
fn next_part(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    if text.is_empty() {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return Some((text[..position].trim_end(), &text[position + 1..])),
            _ => {}
        }
    }
    Some((text.trim_end(), ""))
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let (mut text, mut escaped) = (String::new(), false);
    for character in inner.strip_suffix('"').unwrap_or(inner).chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let docker =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push""#;
        assert_eq!(Challenge::parse(docker), [bearer("https://auth.docker.io/token", Some("registry.docker.io"))]);
        assert_eq!(Challenge::parse(r#"Basic realm="basic-realm""#), [Challenge::Basic]);
        assert_eq!(Challenge::parse("basic"), [Challenge::Basic]);
        let both = r#"Negotiate, Basic realm="a, \"b\" c", bearer service=x , realm="https://t/""#;
        assert_eq!(Challenge::parse(both), [Challenge::Basic, bearer("https://t/", Some("x"))]);
        for nothing in ["", ",,", "Bearer", "Bearer service=x", "Digest realm=\"x\"", "=", "\"", "Bearer realm"] {
            assert_eq!(Challenge::parse(nothing), [], "{nothing}");
        }
    }
}
