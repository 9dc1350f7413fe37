// Package feed lets others follow the evidence log from where they stopped. It owns
// the table of cursors: each has a name, says which records its follower wants, and
// how far the follower has come.
//
// A room follows with [Feeds.Follow]: what it does for a record and the move of its
// cursor are one transaction of the store, so that each record counts once, whatever
// crashes in between. Somebody outside reads with [Feeds.Live] and acknowledges what
// it has done with [Feeds.Acknowledge]: at least once.
//
// Nobody is shown a record before it is durable and under a signed tree head. What
// power loss can take was never told, so a replay from the beginning tells the same
// as the live feed did.
package feed
