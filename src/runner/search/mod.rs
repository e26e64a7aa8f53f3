//! Search: which point to try next, in process and without a server.
