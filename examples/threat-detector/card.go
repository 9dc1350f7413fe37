package threatdetector

import (
	_ "embed"
	"encoding/json"
	"slices"
	"sync"

	"github.com/pavise/pavise/internal/learn"
)

//go:embed model.onnx
var model string

//go:embed card.json
var card []byte

// Model returns the model as ONNX. The slice is the caller's.
func Model() []byte { return []byte(model) }

// Card returns the card of the model. Its slices are shared and only for
// reading.
func Card() ModelCard { return readCard() }

var readCard = sync.OnceValue(func() ModelCard {
	var c ModelCard
	if err := json.Unmarshal(card, &c); err != nil {
		panic("the card in the binary is not JSON: " + err.Error())
	}
	return c
})

// A ModelCard says what the model is, where it comes from and how good it is.
type ModelCard struct {
	Name     string    `json:"name"`
	SHA256   string    `json:"sha256"` // of model.onnx, hex
	Input    string    `json:"input"`  // name of the input, float32 [N, len(Features)]
	Output   string    `json:"output"` // name of the output, float32 [N, len(Classes)]
	Features []Feature `json:"features"`
	Classes  []string  `json:"classes"`
	Training Training  `json:"training"`
	Metrics  Metrics   `json:"metrics"` // on the test file
	// Of the attacks in the test file, the share not taken for normal: those
	// whose name is in the training file too, and those whose name is not.
	KnownDetection float64  `json:"known_detection"`
	NovelDetection float64  `json:"novel_detection"`
	Limits         []string `json:"limits"`
}

// Training says how the model was made: whoever has the files gets the same
// bytes from the command.
type Training struct {
	Command   string      `json:"command"`
	Seed      uint64      `json:"seed"`
	Files     []File      `json:"files"`
	Selection []Candidate `json:"selection"` // what was compared, on the training file only
	Chosen    string      `json:"chosen"`    // name of the candidate taken
}

// A File is one that training read.
type File struct {
	Name   string `json:"name"`
	Use    string `json:"use"` // training, test or classes
	SHA256 string `json:"sha256"`
	Rows   int    `json:"rows,omitempty"`
}

// A Candidate is one way to train that was compared with others. Its scores
// are means over folds of the training file; in each fold the validation rows
// are apart, and some attacks are kept out of training altogether to stand for
// those that nobody has seen yet.
type Candidate struct {
	Name        string  `json:"name"`
	Hidden      []int   `json:"hidden"`
	L2          float64 `json:"l2"`
	FalseAlarms float64 `json:"false_alarms"` // share of normal validation rows taken for attacks
	Seen        float64 `json:"seen"`         // share of validation attacks told from normal, of attacks trained on
	Unseen      float64 `json:"unseen"`       // mean over attacks kept out of the share told from normal
	Score       float64 `json:"score"`        // mean of 1-FalseAlarms and Unseen; the highest is taken
}

// Metrics are what the model achieves on labelled rows. Shares are in [0, 1].
type Metrics struct {
	Rows        int             `json:"rows"`
	Accuracy    float64         `json:"accuracy"`
	MacroF1     float64         `json:"macro_f1"`
	Detection   float64         `json:"detection"`    // share of attacks not taken for normal
	FalseAlarms float64         `json:"false_alarms"` // share of normal rows taken for attacks
	Classes     []ClassMetrics  `json:"classes"`
	Confusion   learn.Confusion `json:"confusion"` // [true][predicted]
}

// ClassMetrics are the metrics of one class.
type ClassMetrics struct {
	Class     string  `json:"class"`
	Rows      int     `json:"rows"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

// Detection returns the share of attacks in test that the model does not take
// for normal: of those whose name occurs in train, and of those whose name does
// not.
func Detection(onnx []byte, train, test Flows) (known, novel float64, err error) {
	var split [2][]int
	for i, attack := range test.Attacks {
		if Class(test.Y[i]) == Normal {
			continue
		}
		k := 0
		if !slices.Contains(train.Attacks, attack) {
			k = 1
		}
		split[k] = append(split[k], i)
	}
	var shares [2]float64
	for k, rows := range split {
		m, err := Measure(onnx, test.Pick(rows))
		if err != nil {
			return 0, 0, err
		}
		shares[k] = m.Detection
	}
	return shares[0], shares[1], nil
}

// Measure runs a model, as Assemble makes them, on labelled rows.
func Measure(onnx []byte, s learn.Set) (Metrics, error) {
	probabilities, err := run(onnx, s.X, outputName)
	if err != nil {
		return Metrics{}, err
	}
	c, err := learn.Confuse(int(classes), s.Y, probabilities.ArgMax())
	if err != nil {
		return Metrics{}, err
	}
	m := Metrics{Rows: s.X.Rows, Accuracy: c.Accuracy(), MacroF1: c.MacroF1(), Confusion: c}
	attacks, missed := 0, 0
	for k, row := range c {
		rows := 0
		for _, n := range row {
			rows += n
		}
		m.Classes = append(m.Classes, ClassMetrics{Class(k).String(), rows, c.Precision(k), c.Recall(k), c.F1(k)})
		if Class(k) != Normal {
			attacks, missed = attacks+rows, missed+row[Normal]
		}
	}
	m.FalseAlarms = 1 - c.Recall(int(Normal))
	m.Detection = 1 - float64(missed)/float64(max(attacks, 1))
	return m, nil
}
