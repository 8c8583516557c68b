// Package guard protects the private pages from what other pages in the same
// browser ask of them: a request that changes something must come from our own
// pages, they answer to names that are known to be theirs only, and they stand in
// no other page's frame. Who the user is, it does not ask: that is login's.
package guard
