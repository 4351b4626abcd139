//! The stylesheet, the script and the icon: compiled in, addressed by the version.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

const STYLE: &str = include_str!("../../assets/app.css");
const SCRIPT: &str = include_str!("../../assets/app.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// `app.css`, `app.js` or `icon.svg`. Pages name them with the version in the query, so they may be kept for a day.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "app.css" => ("text/css; charset=utf-8", STYLE),
        "app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return super::guard::not_found().await,
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=86400")], text).into_response()
}

/// For browsers that ask without being told.
pub(super) async fn icon() -> Response {
    asset(Path("icon.svg".to_owned())).await
}
