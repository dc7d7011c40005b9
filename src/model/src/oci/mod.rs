//! Images of docker and OCI registries: media types, manifests, indexes, the
//! choice of a platform, image configs, and their conversion to an appc manifest.
//!
//! Untrusted JSON in, checked values out. Pure.
