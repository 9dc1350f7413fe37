package main

import (
	"bytes"
	"fmt"
	"strings"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

// limits are what a reader of the card must know before trusting the numbers.
var limits = []string{
	"The traffic was made in a laboratory in 1998. The model shows how Pavise shields a model; it is no claim about today's networks, and no reason to be without an intrusion detection system.",
	"Rare classes are weak: the training file holds 209 rows of r2l and 11 of u2r. Most r2l attacks of the test file, password guessing first, look to the model like normal logins.",
	"The test file holds attacks that training never saw, and their shares differ. Published results of 99 % split the training file at random; they do not compare with these.",
	"Features are summaries over two seconds and over a hundred connections, so that one row is meaningful only beside a sensor that keeps those windows.",
	"An attacker who can choose rows can evade the model. It was not trained against that.",
}

func describe(model []byte, m threatdetector.Metrics) threatdetector.ModelCard {
	return threatdetector.ModelCard{
		Name: "threat-detector", SHA256: digest(model), Input: "flow", Output: "probabilities",
		Features: threatdetector.Features(), Classes: threatdetector.Classes(),
		Metrics: m, Limits: limits,
	}
}

// page writes the card for people.
func page(c threatdetector.ModelCard) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Model card: %s

<!-- Written by examples/threat-detector/train, with model.onnx and card.json. -->

Tells whether a summary of one network connection looks like normal traffic or
like an attack, and of which family. Input `+"`%s`"+`: float32 [N, %d], raw rows.
Output `+"`%s`"+`: float32 [N, %d]. Scaling and encoding are inside the graph, so that
any ONNX runtime gives the same answer to the same row.

model.onnx has SHA-256 `+"`%s`"+`.

## How good it is

On %s, all %d rows, measured once after everything was chosen:
accuracy **%.2f %%**, macro F1 **%.3f**. It notices **%.1f %%** of attacks (%.1f %% of
kinds that are in the training file, %.1f %% of kinds that are not) and raises a
false alarm on **%.1f %%** of normal connections.

`, c.Name, c.Input, len(c.Features), c.Output, len(c.Classes), c.SHA256, c.Training.Files[1].Name, c.Metrics.Rows,
		100*c.Metrics.Accuracy, c.Metrics.MacroF1, 100*c.Metrics.Detection, 100*c.KnownDetection, 100*c.NovelDetection, 100*c.Metrics.FalseAlarms)
	results(&b, c)
	making(&b, c)
	inputs(&b, c)
	b.WriteString("\n## Limits\n\n")
	for _, l := range c.Limits {
		fmt.Fprintf(&b, "- %s\n", l)
	}
	return b.Bytes()
}

func results(b *bytes.Buffer, c threatdetector.ModelCard) {
	fmt.Fprintf(b, "| class | rows | precision | recall | F1 | taken for %s |\n|---|---|---|---|---|%s\n",
		strings.Join(c.Classes, " | "), strings.Repeat("---|", len(c.Classes)))
	for k, m := range c.Metrics.Classes {
		fmt.Fprintf(b, "| %s | %d | %.3f | %.3f | %.3f |", m.Class, m.Rows, m.Precision, m.Recall, m.F1)
		for _, n := range c.Metrics.Confusion[k] {
			fmt.Fprintf(b, " %d |", n)
		}
		b.WriteString("\n")
	}
}

func making(b *bytes.Buffer, c threatdetector.ModelCard) {
	fmt.Fprintf(b, `
## How it was made

    %s

makes the same bytes again on any amd64 machine, from

| file of NSL-KDD | use | rows | SHA-256 |
|---|---|---|---|
`, c.Training.Command)
	for _, f := range c.Training.Files {
		fmt.Fprintf(b, "| %s | %s | %d | `%s` |\n", f.Name, f.Use, f.Rows, f.SHA256)
	}
	b.WriteString(`
The network was chosen on the training file alone. Each of three folds keeps a
third of the attacks out of training, to stand for those nobody has seen; the
score is the mean of the share of them noticed and of normal connections left in
peace.

| candidate | hidden layers | L2 | false alarms | seen attacks noticed | unseen | score |
|---|---|---|---|---|---|---|
`)
	for _, s := range c.Training.Selection {
		name := s.Name
		if name == c.Training.Chosen {
			name = "**" + name + "**"
		}
		fmt.Fprintf(b, "| %s | %v | %g | %.4f | %.4f | %.4f | %.4f |\n", name, s.Hidden, s.L2, s.FalseAlarms, s.Seen, s.Unseen, s.Score)
	}
	b.WriteString(`
Other runtimes are compared with Pavise's own by

    pip install onnx onnxruntime numpy
    PAVISE_ONNXRUNTIME=python3 go test -run TestONNXRuntime -v ./examples/threat-detector

which checks model.onnx with the ONNX checker, runs it on the same rows in both,
and fails if a probability differs by more than 1e-5.
`)
}

func inputs(b *bytes.Buffer, c threatdetector.ModelCard) {
	b.WriteString("\n## Input\n\nCategories are sent as the index of their name below; one past the last stands\nfor any other.\n\n| column | feature | least | most |\n|---|---|---|---|\n")
	for i, f := range c.Features {
		fmt.Fprintf(b, "| %d | %s | %.0f | %.0f |\n", i, f.Name, f.Min, f.Max)
	}
	for _, f := range c.Features {
		if f.Codes == nil {
			continue
		}
		fmt.Fprintf(b, "\n**%s**:", f.Name)
		for i, code := range f.Codes {
			fmt.Fprintf(b, " %d %s", i, code)
			if i < len(f.Codes)-1 {
				b.WriteString(",")
			}
		}
		b.WriteString("\n")
	}
}
