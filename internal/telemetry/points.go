package telemetry

import (
	"strconv"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE

// protoMetrics spells families as OTLP does.
func protoMetrics(families []Family, began, now time.Time) (all []*metricspb.Metric) {
	for i := range families {
		f := &families[i]
		p := &metricspb.Metric{Name: f.Name, Description: f.Help, Unit: f.Unit}
		var numbers []*metricspb.NumberDataPoint
		var sizes []*metricspb.HistogramDataPoint
		for j := range f.Series {
			if f.Sort == Histogram {
				sizes = append(sizes, f.sizes(&f.Series[j], began, now))
			} else {
				numbers = append(numbers, f.number(&f.Series[j], began, now))
			}
		}
		switch f.Sort {
		case Gauge:
			p.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: numbers}}
		case Counter, UpDown:
			p.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: numbers, AggregationTemporality: cumulative, IsMonotonic: f.Sort == Counter}}
		case Histogram:
			p.Data = &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{DataPoints: sizes, AggregationTemporality: cumulative}}
		}
		all = append(all, p)
	}
	return all
}

func (f *Family) number(s *Series, began, now time.Time) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{
		Attributes: f.attributes(s), StartTimeUnixNano: nanos(began), TimeUnixNano: nanos(now),
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: s.Value}, Exemplars: protoExemplars(s.Exemplar),
	}
}

func (f *Family) sizes(s *Series, began, now time.Time) *metricspb.HistogramDataPoint {
	p := &metricspb.HistogramDataPoint{
		Attributes: f.attributes(s), StartTimeUnixNano: nanos(began), TimeUnixNano: nanos(now),
		Count: s.Count(), Sum: &s.Sum, ExplicitBounds: f.bounds,
	}
	for _, b := range s.Buckets {
		p.BucketCounts = append(p.BucketCounts, b.Count)
		p.Exemplars = append(p.Exemplars, protoExemplars(b.Exemplar)...)
	}
	return p
}

func (f *Family) attributes(s *Series) (all []*commonpb.KeyValue) {
	f.pairs(s, func(name, value string) {
		if n, err := strconv.Atoi(value); name == labelStatus && err == nil {
			all = append(all, number(name, n))
			return
		}
		all = append(all, text(name, value))
	})
	return all
}

// protoExemplars spells an exemplar, if there is one.
func protoExemplars(e *Exemplar) []*metricspb.Exemplar {
	if e == nil {
		return nil
	}
	p := &metricspb.Exemplar{
		TimeUnixNano: nanos(e.At), Value: &metricspb.Exemplar_AsDouble{AsDouble: e.Value},
		FilteredAttributes: []*commonpb.KeyValue{number("pavise.record", int(e.Record))},
	}
	if e.Trace != (TraceID{}) {
		p.TraceId = e.Trace[:]
	}
	return []*metricspb.Exemplar{p}
}
