// Train makes the sample model again: it reads NSL-KDD, chooses among a few
// networks on the training file alone, fits the chosen one, measures it once on
// the test file, and writes model.onnx with its card.
//
//	go run ./examples/threat-detector/train --data DIR --out examples/threat-detector
//
// The same files and seed give the same bytes on every amd64 machine.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

// The files read from the data directory.
const (
	trainFile = "KDDTrain+_20Percent.txt.gz"
	testFile  = "KDDTest+.txt.gz"
	classFile = "attack-classes.csv"
)

func main() {
	data := flag.String("data", dataDir(), "directory of the NSL-KDD files (default PAVISE_DATA/nsl-kdd, or ../shared/data/nsl-kdd)")
	out := flag.String("out", ".", "directory to write model.onnx, card.json and CARD.md to")
	seed := flag.Uint64("seed", 1, "where all chance in training comes from")
	flag.Parse()
	if err := run(*data, *out, *seed, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "train: %v\n", err)
		os.Exit(1)
	}
}

func dataDir() string {
	if dir := os.Getenv("PAVISE_DATA"); dir != "" {
		return filepath.Join(dir, "nsl-kdd")
	}
	return filepath.Join("..", "shared", "data", "nsl-kdd")
}

// run trains on the files in data, writes to out and tells progress to log.
func run(data, out string, seed uint64, log io.Writer) error {
	var files []threatdetector.File
	train, err := readFlows(data, trainFile, "training", &files)
	if err != nil {
		return err
	}
	test, err := readFlows(data, testFile, "test", &files)
	if err != nil {
		return err
	}
	if err := checkClasses(data, &files); err != nil {
		return err
	}
	fmt.Fprintf(log, "%d rows to train on, %d to test on\n", train.X.Rows, test.X.Rows)
	candidates, chosen, err := choose(train, seed, log)
	if err != nil {
		return err
	}
	model, err := fit(train, candidates[chosen], seed, log)
	if err != nil {
		return err
	}
	metrics, err := threatdetector.Measure(model, test.Set)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "test: accuracy %.4f, macro F1 %.4f, detection %.4f, false alarms %.4f\n",
		metrics.Accuracy, metrics.MacroF1, metrics.Detection, metrics.FalseAlarms)
	card := describe(model, metrics)
	if card.KnownDetection, card.NovelDetection, err = threatdetector.Detection(model, train, test); err != nil {
		return err
	}
	card.Training = threatdetector.Training{
		Command: fmt.Sprintf("go run ./examples/threat-detector/train --out examples/threat-detector --seed %d", seed),
		Seed:    seed, Files: files, Selection: candidates, Chosen: candidates[chosen].Name,
	}
	return write(out, model, card)
}

// readFlows reads one file of the data directory and notes it in files.
func readFlows(dir, name, use string, files *[]threatdetector.File) (threatdetector.Flows, error) {
	packed, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return threatdetector.Flows{}, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return threatdetector.Flows{}, fmt.Errorf("unzip %s: %w", name, err)
	}
	flows, err := threatdetector.ReadFlows(unzipped)
	if err != nil {
		return threatdetector.Flows{}, fmt.Errorf("read %s: %w", name, err)
	}
	*files = append(*files, threatdetector.File{Name: name, Use: use, SHA256: digest(packed), Rows: flows.X.Rows})
	return flows, nil
}

func checkClasses(dir string, files *[]threatdetector.File) error {
	table, err := os.ReadFile(filepath.Join(dir, classFile))
	if err != nil {
		return err
	}
	*files = append(*files, threatdetector.File{Name: classFile, Use: "classes", SHA256: digest(table)})
	if err := threatdetector.CheckClasses(bytes.NewReader(table)); err != nil {
		return fmt.Errorf("read %s: %w", classFile, err)
	}
	return nil
}

func write(dir string, model []byte, card threatdetector.ModelCard) error {
	encoded, err := json.MarshalIndent(card, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"model.onnx": model, "card.json": append(encoded, '\n'), "CARD.md": page(card),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
