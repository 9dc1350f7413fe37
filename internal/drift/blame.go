package drift

// A Blame is what it is put down to that a model has moved.
type Blame string

// The blames.
const (
	BadVersion Blame = "bad-version" // outputs moved with the version that answers, and inputs did not
	Traffic    Blame = "traffic"     // inputs moved: the world has changed, or somebody shifts what is asked
	Callers    Blame = "callers"     // inputs moved, and a few callers make it
	Walked     Blame = "walked"      // they are as the baseline in force has them, and not as the first one had
	Unclear    Blame = "unclear"     // outputs moved alone, and not with a version, or by few callers
)

// An Elder is what the version before says to what the present one is asked.
type Elder int

// The answers of an elder.
const (
	Unasked Elder = iota // it cannot be asked, or too little was
	Fine                 // it answers as the baseline has it, and the present one does not
	Alike                // it answers as the present one does
)

// Signs are what windows say of a model of which something is confirmed to have moved. What is
// confirmed of neither inputs nor outputs is so by the first baseline alone.
type Signs struct {
	Inputs, Outputs bool   // some of them are confirmed
	Lean            bool   // inputs moved by half of what matters
	Blind           bool   // some inputs are not looked at, or could be anything
	Release         bool   // outputs began to move with the version
	Broad           bool   // and do without those callers who make most of it
	Callers         string // who make the inputs move; empty: no few can be told
	Elder           Elder
}

// Blame says why the model has moved. A version is to blame only when nothing else can be:
// whoever shifts what is asked must not bring back an old one.
func (s Signs) Blame() Blame {
	switch {
	case s.Inputs && s.Callers != "":
		return Callers
	case s.Inputs:
		return Traffic
	case !s.Outputs:
		return Walked
	case s.Lean || !s.Broad || s.Elder == Alike || s.Blind && s.Elder != Fine:
		return Unclear
	case s.Release || s.Elder == Fine:
		return BadVersion
	}
	return Unclear
}

// Words says it in a sentence.
func (s Signs) Words() string {
	switch s.Blame() {
	case Callers:
		return "what comes in has moved, and with these callers left out it has not: " + s.Callers
	case Traffic:
		return "what comes in has moved, and no few callers can be told who make it: the world has changed, or somebody shifts it"
	case Walked:
		return "it is as the baseline in force has it, and no longer as the first baseline had: a baseline was led away step by step"
	case BadVersion:
		how := "its outputs moved when this version began to answer"
		if !s.Release {
			how = "its outputs moved"
		}
		if s.Elder == Fine {
			how += ", the version before answers the same requests as the baseline has it"
		}
		return how + ", what comes in has not moved, and no few callers make it"
	}
	switch {
	case s.Elder == Alike:
		return "its outputs moved, and the version before answers the same requests alike: it is not the version"
	case s.Lean:
		return "its outputs moved, and what comes in has begun to"
	case !s.Broad:
		return "its outputs moved by what few callers asked: no version is brought back for that"
	case s.Blind:
		return "its outputs moved, and part of what comes in is not looked at, or could be anything: nobody can say that it has not moved"
	}
	return "its outputs moved without what comes in, and not when a version began to answer: was the model changed on its server?"
}
