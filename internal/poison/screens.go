package poison

// A Finding is what one screen found.
type Finding struct {
	Screen string
	// Evidence is how much speaks against each row, those of the baseline behind those of the
	// file, in the screen's own unit; nil where it could not look, or says nothing of rows.
	Evidence []float32
	Untold   bool                 // nothing was measured of the baseline's rows
	Bounded  bool                 // there is a most that Evidence can be, so that a baseline does not raise the limit
	Odds     bool                 // Evidence is the logarithm of the odds of another class
	Limit    float64              // evidence that sends a row to quarantine where no baseline says better
	Reason   func(row int) string // why, in words; nil: Words
	Words    string
	Silence  string    // why it could not look; empty where it did
	Remarks  []string  // what it found about the table as a whole, in words
	Pattern  []Pattern // of the screen of triggers
	Shifts   []Shift   // of the contrast
	Harm     []Harm    // of the screen of sources
}

// A Job is one screen, ready to run. Jobs of one view may run at once.
type Job struct {
	Screen string
	Run    func() Finding
}

// silent is the finding of a screen that could not look.
func silent(screen, why string) Finding { return Finding{Screen: screen, Silence: why} }
