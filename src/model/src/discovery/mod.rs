//! appc discovery as text: which URLs an image name may stand for, and what a
//! page's meta tags say.
