//! Who may ask the HTTP ports of our programs, and how they refuse: the same for the collector's API and the sender's control port.
//!
//! A port has a token, or is for this machine alone. Its paths are behind a guard:
//!
//! ```
//! use axum::{Router, middleware, routing::get};
//! use vxtap_access::{Access, TokenName, guard};
//!
//! let name = TokenName { program: "collector", flag: "--api-token" };
//! let access = Access::new(Some("0123456789abcdef"), name);
//! let _: Router = Router::new()
//!     .route("/metrics", get(async || "…"))
//!     .layer(middleware::from_fn_with_state(access, guard));
//! ```

mod access;
mod failure;

pub use access::{Access, TokenName, guard, is_loopback};
pub use failure::{Failure, never_stored, readable};
