// Package ticket is changes in the tools that people have: each change that waits for
// others is told in Jira, ServiceNow, GitHub, GitLab, PagerDuty, as CDEvents and as signed
// webhooks; and what people say there is a vote here, if it is one of a known person.
//
// It owns the tools with the secrets that they are asked with, the tickets it made there,
// what of a change was told to each, which account of a tool is which person, and what was
// made of each word; and which deployments wait in a tool until others have decided here (by
// package pipeline). Changes themselves, and what counts, are those of package change.
//
// # What is told
//
// A change is a list of steps that only grows: it was opened, somebody voted, it was run
// first, nobody has looked at it in half of its time, it ended. Steps are written into the
// store when they are seen, and struck off when the tool has taken them: in order for each
// change, and each at least once. Before a ticket is made, the one that carries the
// change's mark is looked for; before a step is told again, it is looked for by its own.
// Marks are made with a key of the tenant's, so that nobody else can make one first. A tool
// that is away keeps no change from anything.
//
// # What counts of what is said
//
// A word on a ticket is a vote if its first line says so, with the digest that the ticket
// shows; in ServiceNow it is an approval of a change request that still shows it. Words are
// read from the tool's own API alone: what comes to the door (Desk.Door) only has that done
// sooner, so that a forged message does nothing. A word counts for the person whose account
// said it, as ticket.map has it: a change that others approve, of accounts by the tool's
// own ids, which no renaming takes over. It ends with its time, with a revocation of the
// person, and when the tool is another. Words that were edited do not count: others may
// have written them; nor do those on a ticket that shows something else than it was told.
//
// The principal of such a vote is the person, known by the word of the tool
// (change.ProofTicket), in the roles that the mapping was approved for: an identity that the
// person had made, so that no grant of theirs counts. Its record says tool, ticket, word and
// account.
//
// Who runs a tool can make it say anything. So it is never heard on what is of high risk:
// that is package change's to say.
package ticket
