package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pavise/pavise"
)

// What a contract may hold.
const (
	MaxSize       = 1 << 20 // bytes
	maxProperties = 10_000  // in one schema
	maxValid      = 100_000 // values of one list
)

// A Contract is a data contract. Fields that bind nobody here, such as teams and prices,
// are kept as they came, so that what is exported has them.
type Contract struct {
	APIVersion string   `yaml:"apiVersion"` // of the standard: v3.0.0 to v3.2.0
	Kind       string   `yaml:"kind"`       // DataContract
	ID         string   `yaml:"id"`
	Name       string   `yaml:"name,omitempty"`
	Version    string   `yaml:"version"` // of the contract
	Status     string   `yaml:"status"`  // draft, active, deprecated …
	Schema     []Schema `yaml:"schema,omitempty"`

	Tenant                   any `yaml:"tenant,omitempty"`
	Tags                     any `yaml:"tags,omitempty"`
	Servers                  any `yaml:"servers,omitempty"`
	DataProduct              any `yaml:"dataProduct,omitempty"`
	Description              any `yaml:"description,omitempty"`
	Domain                   any `yaml:"domain,omitempty"`
	Support                  any `yaml:"support,omitempty"`
	Price                    any `yaml:"price,omitempty"`
	Team                     any `yaml:"team,omitempty"`
	Roles                    any `yaml:"roles,omitempty"`
	SLADefaultElement        any `yaml:"slaDefaultElement,omitempty"`
	SLAProperties            any `yaml:"slaProperties,omitempty"`
	AuthoritativeDefinitions any `yaml:"authoritativeDefinitions,omitempty"`
	CustomProperties         any `yaml:"customProperties,omitempty"`
	ContractCreatedTS        any `yaml:"contractCreatedTs,omitempty"`
	Context                  any `yaml:"context,omitempty"` // of 3.2
}

// An element is what schemas and properties have in common, and binds nobody.
type element struct {
	ID                       any    `yaml:"id,omitempty"` // of 3.1
	PhysicalType             any    `yaml:"physicalType,omitempty"`
	PhysicalName             string `yaml:"physicalName,omitempty"` // what the data calls it, where that is another name
	Description              any    `yaml:"description,omitempty"`
	BusinessName             any    `yaml:"businessName,omitempty"`
	AuthoritativeDefinitions any    `yaml:"authoritativeDefinitions,omitempty"`
	Tags                     any    `yaml:"tags,omitempty"`
	CustomProperties         any    `yaml:"customProperties,omitempty"`
	Relationships            any    `yaml:"relationships,omitempty"`
	Deprecated               any    `yaml:"deprecated,omitempty"` // of 3.2
	Synonyms                 any    `yaml:"synonyms,omitempty"`   // of 3.2
}

// A Schema is one table of a contract.
type Schema struct {
	Name        string     `yaml:"name"`
	LogicalType string     `yaml:"logicalType,omitempty"` // object
	Properties  []Property `yaml:"properties,omitempty"`
	Quality     []Quality  `yaml:"quality,omitempty"`
	Granularity any        `yaml:"dataGranularityDescription,omitempty"`
	Context     any        `yaml:"context,omitempty"` // of 3.2
	element     `yaml:",inline"`
}

// A Property is one column.
type Property struct {
	Name               string    `yaml:"name"`
	LogicalType        string    `yaml:"logicalType,omitempty"` // string, date, timestamp, time, number, integer, object, array, boolean, map, vector; empty: any
	LogicalTypeOptions *Options  `yaml:"logicalTypeOptions,omitempty"`
	Required           bool      `yaml:"required,omitempty"`
	Unique             bool      `yaml:"unique,omitempty"`
	PrimaryKey         bool      `yaml:"primaryKey,omitempty"`
	PrimaryKeyPosition int       `yaml:"primaryKeyPosition,omitempty"`
	Quality            []Quality `yaml:"quality,omitempty"`
	Properties         any       `yaml:"properties,omitempty"` // of an object, which is not looked into
	Items              any       `yaml:"items,omitempty"`      // of an array, which is not looked into
	Map                any       `yaml:"map,omitempty"`        // of 3.2: of a map, which is not looked into
	Enum               []Valid   `yaml:"enum,omitempty"`       // of 3.2: the values that there are

	Partitioned            any `yaml:"partitioned,omitempty"`
	PartitionKeyPosition   any `yaml:"partitionKeyPosition,omitempty"`
	Classification         any `yaml:"classification,omitempty"`
	EncryptedName          any `yaml:"encryptedName,omitempty"`
	TransformSourceObjects any `yaml:"transformSourceObjects,omitempty"`
	TransformLogic         any `yaml:"transformLogic,omitempty"`
	TransformDescription   any `yaml:"transformDescription,omitempty"`
	Examples               any `yaml:"examples,omitempty"`
	CriticalDataElement    any `yaml:"criticalDataElement,omitempty"`
	SemanticType           any `yaml:"semanticType,omitempty"` // of 3.2
	element                `yaml:",inline"`
}

// Valid is a value that a property may have.
type Valid struct {
	Value any `yaml:"value"`

	ID                       any `yaml:"id,omitempty"`
	Label                    any `yaml:"label,omitempty"`
	Description              any `yaml:"description,omitempty"`
	Tags                     any `yaml:"tags,omitempty"`
	CustomProperties         any `yaml:"customProperties,omitempty"`
	AuthoritativeDefinitions any `yaml:"authoritativeDefinitions,omitempty"`
}

// Options bound the values of a property: which of them mean something goes by its type.
type Options struct {
	MinLength        *int     `yaml:"minLength,omitempty"` // characters
	MaxLength        *int     `yaml:"maxLength,omitempty"`
	Pattern          string   `yaml:"pattern,omitempty"` // of the whole value only where it says so with ^ and $
	Format           string   `yaml:"format,omitempty"`  // email, uuid …; i32 …; yyyy-MM-dd …
	MultipleOf       *float64 `yaml:"multipleOf,omitempty"`
	Minimum          any      `yaml:"minimum,omitempty"` // a number, or a date in the format
	Maximum          any      `yaml:"maximum,omitempty"`
	ExclusiveMinimum any      `yaml:"exclusiveMinimum,omitempty"`
	ExclusiveMaximum any      `yaml:"exclusiveMaximum,omitempty"`

	Timezone        any `yaml:"timezone,omitempty"`
	DefaultTimezone any `yaml:"defaultTimezone,omitempty"`
	MinItems        any `yaml:"minItems,omitempty"` // of arrays and objects, which are not looked into
	MaxItems        any `yaml:"maxItems,omitempty"`
	UniqueItems     any `yaml:"uniqueItems,omitempty"`
	MinProperties   any `yaml:"minProperties,omitempty"`
	MaxProperties   any `yaml:"maxProperties,omitempty"`
	Required        any `yaml:"required,omitempty"`

	Dimensions            any `yaml:"dimensions,omitempty"` // of vectors, which are not looked into
	ElementType           any `yaml:"elementType,omitempty"`
	Normalized            any `yaml:"normalized,omitempty"`
	DistanceMetric        any `yaml:"distanceMetric,omitempty"`
	EmbeddingModel        any `yaml:"embeddingModel,omitempty"`
	EmbeddingModelVersion any `yaml:"embeddingModelVersion,omitempty"`
}

// A Quality is one rule beyond types: of a property, or of a whole schema.
type Quality struct {
	Type      string     `yaml:"type,omitempty"`   // library, which is meant when absent, text, sql or custom
	Metric    string     `yaml:"metric,omitempty"` // nullValues, missingValues, invalidValues, duplicateValues or rowCount
	Arguments *Arguments `yaml:"arguments,omitempty"`
	Unit      string     `yaml:"unit,omitempty"` // rows, which is meant when absent, or percent
	Name      string     `yaml:"name,omitempty"`

	MustBe                 any       `yaml:"mustBe,omitempty"`
	MustNotBe              any       `yaml:"mustNotBe,omitempty"`
	MustBeGreaterThan      *float64  `yaml:"mustBeGreaterThan,omitempty"`
	MustBeGreaterOrEqualTo *float64  `yaml:"mustBeGreaterOrEqualTo,omitempty"`
	MustBeLessThan         *float64  `yaml:"mustBeLessThan,omitempty"`
	MustBeLessOrEqualTo    *float64  `yaml:"mustBeLessOrEqualTo,omitempty"`
	MustBeBetween          []float64 `yaml:"mustBeBetween,omitempty"`
	MustNotBeBetween       []float64 `yaml:"mustNotBeBetween,omitempty"`

	ID                       any `yaml:"id,omitempty"` // of 3.1
	Rule                     any `yaml:"rule,omitempty"`
	Query                    any `yaml:"query,omitempty"`
	Engine                   any `yaml:"engine,omitempty"`
	Implementation           any `yaml:"implementation,omitempty"`
	AuthoritativeDefinitions any `yaml:"authoritativeDefinitions,omitempty"`
	BusinessImpact           any `yaml:"businessImpact,omitempty"`
	CustomProperties         any `yaml:"customProperties,omitempty"`
	Description              any `yaml:"description,omitempty"`
	Dimension                any `yaml:"dimension,omitempty"`
	Method                   any `yaml:"method,omitempty"`
	Schedule                 any `yaml:"schedule,omitempty"`
	Scheduler                any `yaml:"scheduler,omitempty"`
	Severity                 any `yaml:"severity,omitempty"`
	Tags                     any `yaml:"tags,omitempty"`
}

// Arguments are those of a metric.
type Arguments struct {
	MissingValues []any    `yaml:"missingValues,omitempty"` // values that stand for nothing; null is nothing, and "" an empty text
	ValidValues   []any    `yaml:"validValues,omitempty"`
	Pattern       string   `yaml:"pattern,omitempty"`
	Properties    []string `yaml:"properties,omitempty"` // that are unique together
}

// Parse reads a contract, of which name is for errors. They are of kind Invalid and say
// which line is wrong.
func Parse(name string, text []byte) (*Contract, error) { return parse(name, text, (*Schema).sound) }

// Kept reads a contract that was taken before, when less may have been refused.
func Kept(name string, text []byte) (*Contract, error) {
	return parse(name, text, func(*Schema) error { return nil })
}

func parse(name string, text []byte, sound func(*Schema) error) (*Contract, error) {
	if len(text) > MaxSize {
		return nil, wrong(name, "it has %d bytes, and a contract has at most 1 MiB", len(text))
	}
	if err := plain(text); err != nil {
		return nil, wrong(name, "%v", err)
	}
	c := &Contract{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		return nil, wrong(name, "%s", yamlWords(err))
	}
	for i := range c.Schema { // before patterns become machines
		if err := sound(&c.Schema[i]); err != nil {
			return nil, wrong(name, "schema %.80q: %v", c.Schema[i].Name, err)
		}
	}
	if err := c.validate(); err != nil {
		return nil, wrong(name, "%v", err)
	}
	return c, nil
}

// plain refuses YAML that is more than it looks: aliases, which make much of little, and
// several documents, of which some readers read the last.
func plain(text []byte) error {
	var root, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	} else if err != nil {
		return errors.New(yamlWords(err))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one document in it")
	}
	return noAlias(&root)
}

func noAlias(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("line %d: anchors and aliases are not read; write it out", n.Line)
	}
	for _, child := range n.Content {
		if err := noAlias(child); err != nil {
			return err
		}
	}
	return nil
}

// yamlWords are the words of the YAML package without its name.
func yamlWords(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n  ")
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\n  ", "; ")
}

// Write writes the contract as YAML.
func (c *Contract) Write(w io.Writer) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return fmt.Errorf("write the contract: %w", err)
	}
	return e.Close()
}

func (c *Contract) validate() error {
	versions := []string{"v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0"}
	switch {
	case !slices.Contains(versions, c.APIVersion):
		return fmt.Errorf("apiVersion is %.40q, and one of %s is read", c.APIVersion, strings.Join(versions, ", "))
	case c.Kind != "DataContract":
		return fmt.Errorf("kind is %.40q, and not DataContract", c.Kind)
	case c.ID == "" || c.Version == "" || c.Status == "":
		return errors.New("a contract has an id, a version and a status")
	}
	names := map[string]bool{}
	for _, s := range c.Schema {
		if s.Name == "" || names[s.Name] {
			return fmt.Errorf("schema %.80q: every schema has a name of its own", s.Name)
		}
		names[s.Name] = true
		if err := s.validate(); err != nil {
			return fmt.Errorf("schema %.80q: %w", s.Name, err)
		}
	}
	return nil
}

func (s *Schema) validate() error {
	if s.LogicalType != "" && s.LogicalType != "object" {
		return fmt.Errorf("logicalType is %.40q, and a schema is an object", s.LogicalType)
	}
	if len(s.Properties) > maxProperties {
		return fmt.Errorf("it has %d properties, and at most 10,000 are read", len(s.Properties))
	}
	names := map[string]bool{}
	for i := range s.Properties {
		p := &s.Properties[i]
		if p.Name == "" || names[p.column()] {
			return fmt.Errorf("property %.80q: every property has a name of its own", p.Name)
		}
		names[p.column()] = true
	}
	_, err := compile(s) // all that is promised can be held to data, or is said not to be
	return err
}

// column is what data calls a property.
func (p *Property) column() string {
	if p.PhysicalName != "" {
		return p.PhysicalName
	}
	return p.Name
}

func wrong(name, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: name + ": " + fmt.Sprintf(format, args...), Hint: "see the Open Data Contract Standard; pavise ingest draft drafts one"}
}
