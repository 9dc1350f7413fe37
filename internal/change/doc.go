// Package change is the only road to acts with consequences for others: somebody
// proposes one, others decide, and it is run once.
//
// It owns the table of changes, of the votes on them and of the rules that say how
// many approvals a verb takes. It does none of the acts: a [Runner] for each verb is
// handed over at construction. The guardrail through-change sees to it that there is
// no other road: the guard lets such a verb in only for a principal that carries the
// name of a change which this package says is under way ([Changes.UnderWay]).
//
// # What an approval is
//
// A record of the evidence log, durable before it counts, in which a person says yes
// to a digest. The digest covers the request and everything that the runner says the
// outcome depends on, such as the policies in force. When one of them changes, the
// digest does, and every approval is dead: people approve a content, not a number.
// The table of votes is for people to look at; what counts at the moment of running
// is what the log proves.
//
// Nobody approves what they proposed, nobody counts twice, and who approves must be
// one of those who may do the act themselves. All that is checked where the vote is
// written, in the transaction, and again when the change is run.
//
// # Exactly once
//
// The runner's effect and a mark that the change was run are one transaction of the
// store. Whatever crashes in between, the next start finds the mark, and the change
// is done; or finds none, and nothing was done, and runs it. A change that the log says
// was run, denied or taken back is not run, whatever the database says: that is a
// critical finding, and so is every other change that the log does not bear out.
//
// # The safe direction
//
// Acts that only make things safer, such as going back to the model before, run
// first. They are approved afterwards, within a deadline; one that is denied, or
// that nobody looks at in time, becomes a finding.
//
// # Deadlines
//
// Votes count until a change's deadline, by the clock, to the moment. What cannot be taken
// back (that it expired, is contested, or that people are reminded) comes only when Run has
// seen the time to be up in several rounds, which are spaced by a clock that nobody sets: one
// that leaps and is put right does no harm. One that steps back is the guard's to refuse.
//
// # Breaking the glass
//
// Who proposed a change may have it run before it is approved, if policies let them
// ([Changes.Break]) and its verb allows it: with a ticket, and with a critical finding
// that pages somebody before anything is done. It is approved afterwards, as an act in
// the safe direction is. It is the one way in which one person does a whole
// consequential act, and it is never a way to more rights than a grant of an hour.
//
// # Words from outside
//
// A vote may be read in a tool that people have, as package ticket does (Changes.Outside).
// It is a vote like any other: of a person, with the digest of what they looked at, and a
// record, which says where it was read. It counts for the verbs alone whose runner says so
// (Runner.Outside), never where the plan's risk is high or the rule takes more than one
// person, and that is checked again when the change is run.
//
// # Who is somebody else
//
// People are told apart by who answers for them (pavise.Principal.Root): two tokens that
// one person had made are one person, and an identity that the proposer had made is the
// proposer. Whoever gains by a change, as the holder of a grant does, counts no more
// than its proposer.
package change
