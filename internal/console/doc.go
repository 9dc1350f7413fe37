// Package console shows the house in a browser: the decisions as they fall, one
// request's whole trail with its proof, a search over all of them, the state of the
// log and of what looks after it, the models with their lives, where they run and how their
// answers drift, the routes, the policies and who may do what under them, who has asked, who is held to a tier, what was made of what, and the changes that
// wait for somebody's approval. Its pages are templates over [api.Client], so it can do nothing that the API
// cannot, and every page a person opens is itself a recorded read.
//
// All it can change is what becomes of a change: a person approves it, denies it or
// takes it back, by a plain form that repeats the digest they looked at; take a role back
// that somebody was given for a time; hold a caller to a tier, or lift it; and judge what has
// drifted, with a reason. Whether that counts is for the API to say, and its words are shown.
//
// # Who gets in
//
// Somebody who can read the terminal. [Console.Link] makes a one-time code,
// which GET /login exchanges for a session; the session holds a bearer token of
// the API, and dies with that token within the hour. It is the token of the person
// who asked for the link, so that nobody is more in the console than they are
// elsewhere. The browser holds a random id in a SameSite=Strict cookie and never the
// token.
//
// Other programs on the machine are the adversary to think of. A page of another
// site reaches a loopback port, so each request's Host is on a list (DNS
// rebinding), fetch metadata and Origin are checked, and nothing may be framed. What
// a form sends counts only from our own origin, and only in its body.
// Cookies know no ports: another server on the same host name is sent the
// console's cookie when its owner visits it, and is trusted with that.
//
// # What it shows
//
// Records hold strings that attackers chose. They reach a page through
// html/template, and the live feed through JSON and textContent; a strict
// content security policy without inline script or style stands behind both.
// Characters without a glyph are shown as U+FFFD.
//
// The package owns no state: the codes and the sessions are package session's.
package console
