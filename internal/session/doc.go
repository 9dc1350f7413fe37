// Package session is who sits before a browser: the links that open a session once, the
// sessions, and whether a request is our own page's or was made by another site.
//
// A link is made for somebody who can read the terminal. Its code is exchanged for a
// session, which holds a bearer token of the API and dies with that token, within the hour.
// The browser holds a random id in a SameSite=Strict cookie, and never the token.
//
// The package owns the codes and the sessions, in memory only. What a session's token may
// do, it does not know.
package session
