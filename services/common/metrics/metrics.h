// Counters, gauges and histograms of a process, in Prometheus' text format.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace metrics {

using Labels = std::map<std::string, std::string>;

// Thread-safe; live as long as their Registry.
class Counter {
 public:
  virtual ~Counter() = default;
  virtual void Add(double by = 1) = 0;
  virtual double value() const = 0;
};
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
  virtual void Add(double by) = 0;
  virtual double value() const = 0;
};
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

// The families of a process. Asking twice for one name and labels gives the same metric.
// Thread-safe. A name must keep its type, and a histogram its buckets.
class Registry {
 public:
  // Has build_info and the process_* family (CPU seconds, resident and virtual memory, open
  // descriptors, start time) from the start.
  explicit Registry(std::string_view version = "dev");
  ~Registry();

  Counter& GetCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& GetGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& GetHistogram(const std::string& name, const std::string& help,
                          const std::vector<double>& buckets, const Labels& labels = {});

  // Removes one gauge of labels that no longer exist.
  void RemoveGauge(const std::string& name, const Labels& labels);

  // Text format 0.0.4.
  std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Content type of Text().
inline constexpr std::string_view kTextContentType = "text/plain; version=0.0.4; charset=utf-8";

// 1 ms to 60 s, for calls and reconciles.
const std::vector<double>& DurationBuckets();

}  // namespace metrics
