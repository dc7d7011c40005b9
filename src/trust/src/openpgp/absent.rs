//! In place of OpenPGP, in a build without the feature `trust`: no key can be
//! read, and no signature is ever good.

use super::Signer;
use crate::{Keys, absent};
use model::fault::Result;
use std::convert::Infallible;

/// There is none.
#[derive(Clone)]
pub(super) struct Certificate(Infallible);

pub(super) fn parse(_: &[u8]) -> Result<Vec<Certificate>> {
    Err(absent())
}

impl Certificate {
    pub(super) fn fingerprint(&self) -> &str {
        match self.0 {}
    }
    pub(super) fn subkeys(&self) -> Vec<String> {
        match self.0 {}
    }
    pub(super) fn user_ids(&self) -> Vec<String> {
        match self.0 {}
    }
    pub(super) fn refusal(&self, _: u64) -> Option<&'static str> {
        match self.0 {}
    }
    pub(super) fn armored(&self) -> &[u8] {
        match self.0 {}
    }
}

/// There is none.
pub(super) struct Check(Infallible);

impl Check {
    pub(super) fn new(_: &[u8]) -> Result<Check> {
        Err(absent())
    }
    pub(super) fn expect_signer(&self, _: &Keys) -> Result<()> {
        match self.0 {}
    }
    pub(super) fn update(&mut self, _: &[u8]) {
        match self.0 {}
    }
    pub(super) fn finish(self, _: &Keys, _: u64) -> Result<Signer> {
        match self.0 {}
    }
}
