//! Who may tell and ask what: a token for each job.
//!
//! A token is the HMAC-SHA256 (RFC 2104) of the job's key and its owner under a secret that only
//! the logger has. So the logger keeps no list of tokens, and they outlive its restart.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use super::event::JobKey;
use super::logger_error::LoggerError;
use crate::digest::hexadecimal;
use crate::durable;

/// The secret's file in the logger's folder.
const SECRET_FILE: &str = "secret";
/// Bytes of a secret.
const SECRET_LENGTH: usize = 32;

/// The right to tell events of one job, for its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    uid: u32,
    code: String,
}

/// The text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no token: a number, a colon and 64 hexadecimal digits")]
pub struct InvalidToken;

impl Token {
    /// The job's owner.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }
}

impl fmt::Debug for Token {
    /// Tokens do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(of user {})", self.uid)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.code)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (uid, code) = text.split_once(':').ok_or(InvalidToken)?;
        let uid = uid.parse().map_err(|_| InvalidToken)?;
        if code.len() != 64 || !code.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidToken);
        }
        Ok(Self {
            uid,
            code: code.to_owned(),
        })
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What tokens are made with.
pub struct Secret([u8; SECRET_LENGTH]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret in the logger's private `folder`; made when it is not there. The caller holds
    /// the folder's lock.
    pub fn open(folder: &Path) -> Result<Self, LoggerError> {
        let path = folder.join(SECRET_FILE);
        match read(&path) {
            Ok(secret) => Ok(Self(secret)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; SECRET_LENGTH];
                File::open("/dev/urandom")
                    .and_then(|mut file| file.read_exact(&mut secret))
                    .map_err(|source| folder_error(&path, source))?;
                durable::write(&path, &secret)?;
                Ok(Self(secret))
            }
            Err(source) => Err(folder_error(&path, source)),
        }
    }

    /// The token for `job` of the user `uid`.
    #[must_use]
    pub fn token(&self, uid: u32, job: &JobKey) -> Token {
        let code = self.mac(uid, job).finalize().into_bytes();
        Token {
            uid,
            code: hexadecimal(&code),
        }
    }

    /// Whether `token` is the one for `job`; takes the same time however wrong it is.
    #[must_use]
    pub fn admits(&self, token: &Token, job: &JobKey) -> bool {
        let digits = token.code.as_bytes().chunks_exact(2);
        let code: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        code.is_some_and(|code| self.mac(token.uid, job).verify_slice(&code).is_ok())
    }

    fn mac(&self, uid: u32, job: &JobKey) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&uid.to_le_bytes());
        mac.update(job.as_str().as_bytes());
        mac
    }
}

fn read(path: &Path) -> io::Result<[u8; SECRET_LENGTH]> {
    let mut secret = [0; SECRET_LENGTH];
    File::open(path)?.read_exact(&mut secret)?;
    Ok(secret)
}

fn folder_error(path: &Path, source: io::Error) -> LoggerError {
    LoggerError::Folder {
        path: PathBuf::from(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_job_of_one_user_and_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (job, other) = (JobKey::of([1; 16]), JobKey::of([2; 16]));
        let token: Token = Secret::open(folder.path())
            .unwrap()
            .token(1000, &job)
            .to_string()
            .parse()
            .unwrap();
        let secret = Secret::open(folder.path()).unwrap();
        assert!(secret.admits(&token, &job));
        assert!(!secret.admits(&token, &other));
        let stolen: Token = token.to_string().replace("1000:", "1001:").parse().unwrap();
        assert!(!secret.admits(&stolen, &job));
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(!Secret::open(elsewhere.path()).unwrap().admits(&token, &job));
        assert!(!format!("{token:?}").contains(&token.code));
    }
}
