#include "common/metrics/metrics.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include <dirent.h>
#include <unistd.h>

#include "absl/synchronization/mutex.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

#include "common/base/check.h"

namespace metrics {
namespace {

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void Add(double by) override { counter_.Increment(by); }
  double value() const override { return counter_.Value(); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Set(double value) override { gauge_.Set(value); }
  void Add(double by) override { gauge_.Increment(by); }
  double value() const override { return gauge_.Value(); }
  prometheus::Gauge& wrapped() { return gauge_; }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void Observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

// The process as the kernel shows it.
struct ProcessNow {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double open_descriptors = 0;
  double threads = 0;
  double start_seconds = 0;  // Since the epoch.
};

double BootSeconds() {
  std::ifstream stat("/proc/stat");
  std::string word;
  double seconds = 0;
  while (stat >> word) {
    if (word == "btime") {
      stat >> seconds;
      break;
    }
  }
  return seconds;
}

double CountDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  double count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count - 3;  // ".", ".." and the folder itself.
}

ProcessNow ReadProcess() {
  ProcessNow now;
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  // The second field is the name in parentheses, which may hold anything.
  const size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return now;
  std::istringstream fields(text.substr(end_of_name + 1));
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string field;
  // Numbered as in proc(5), where the state is field 3.
  for (int i = 3; i <= 24 && fields >> field; ++i) {
    const double value = std::strtod(field.c_str(), nullptr);
    if (i == 14 || i == 15) now.cpu_seconds += value / ticks;
    if (i == 20) now.threads = value;
    if (i == 22) now.start_seconds = BootSeconds() + value / ticks;
    if (i == 23) now.virtual_bytes = value;
    if (i == 24) now.resident_bytes = value * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  now.open_descriptors = CountDescriptors();
  return now;
}

}  // namespace

struct Registry::Impl {
  using Key = std::pair<std::string, Labels>;

  prometheus::Registry registry;
  absl::Mutex mutex;
  std::map<std::string, prometheus::Family<prometheus::Counter>*> counter_families;
  std::map<std::string, prometheus::Family<prometheus::Gauge>*> gauge_families;
  std::map<std::string, prometheus::Family<prometheus::Histogram>*> histogram_families;
  std::map<Key, std::unique_ptr<PrometheusCounter>> counters;
  std::map<Key, std::unique_ptr<PrometheusGauge>> gauges;
  std::map<Key, std::unique_ptr<PrometheusHistogram>> histograms;

  Counter* cpu_seconds = nullptr;
  double cpu_seconds_shown = 0;
  Gauge* resident = nullptr;
  Gauge* virtual_memory = nullptr;
  Gauge* descriptors = nullptr;
  Gauge* threads = nullptr;

  void UpdateProcess() {
    const ProcessNow now = ReadProcess();
    {
      absl::MutexLock lock(&mutex);
      if (now.cpu_seconds > cpu_seconds_shown) {
        cpu_seconds->Add(now.cpu_seconds - cpu_seconds_shown);
        cpu_seconds_shown = now.cpu_seconds;
      }
    }
    resident->Set(now.resident_bytes);
    virtual_memory->Set(now.virtual_bytes);
    descriptors->Set(now.open_descriptors);
    threads->Set(now.threads);
  }
};

Registry::Registry(std::string_view version) : impl_(std::make_unique<Impl>()) {
  GetGauge("build_info", "Version of this binary; always 1.", {{"version", std::string(version)}})
      .Set(1);
  impl_->cpu_seconds =
      &GetCounter("process_cpu_seconds_total", "User and system CPU time used, in seconds.");
  impl_->resident = &GetGauge("process_resident_memory_bytes", "Resident memory in bytes.");
  impl_->virtual_memory = &GetGauge("process_virtual_memory_bytes", "Virtual memory in bytes.");
  impl_->descriptors = &GetGauge("process_open_fds", "Open file descriptors.");
  impl_->threads = &GetGauge("process_threads", "Threads of the process.");
  GetGauge("process_max_fds", "Most file descriptors that may be open.")
      .Set(static_cast<double>(sysconf(_SC_OPEN_MAX)));
  GetGauge("process_start_time_seconds", "Start of the process, seconds since the epoch.")
      .Set(ReadProcess().start_seconds);
}

Registry::~Registry() = default;

Counter& Registry::GetCounter(const std::string& name, const std::string& help,
                              const Labels& labels) {
  absl::MutexLock lock(&impl_->mutex);
  std::unique_ptr<PrometheusCounter>& counter = impl_->counters[{name, labels}];
  if (counter) return *counter;
  auto*& family = impl_->counter_families[name];
  if (family == nullptr) {
    CHECK(!impl_->gauge_families.contains(name) && !impl_->histogram_families.contains(name));
    family = &prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
  }
  counter = std::make_unique<PrometheusCounter>(family->Add(labels));
  return *counter;
}

Gauge& Registry::GetGauge(const std::string& name, const std::string& help, const Labels& labels) {
  absl::MutexLock lock(&impl_->mutex);
  std::unique_ptr<PrometheusGauge>& gauge = impl_->gauges[{name, labels}];
  if (gauge) return *gauge;
  auto*& family = impl_->gauge_families[name];
  if (family == nullptr) {
    CHECK(!impl_->counter_families.contains(name) && !impl_->histogram_families.contains(name));
    family = &prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  }
  gauge = std::make_unique<PrometheusGauge>(family->Add(labels));
  return *gauge;
}

Histogram& Registry::GetHistogram(const std::string& name, const std::string& help,
                                  const std::vector<double>& buckets, const Labels& labels) {
  absl::MutexLock lock(&impl_->mutex);
  std::unique_ptr<PrometheusHistogram>& histogram = impl_->histograms[{name, labels}];
  if (histogram) return *histogram;
  auto*& family = impl_->histogram_families[name];
  if (family == nullptr) {
    CHECK(!impl_->counter_families.contains(name) && !impl_->gauge_families.contains(name));
    family = &prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
  }
  histogram = std::make_unique<PrometheusHistogram>(family->Add(labels, buckets));
  return *histogram;
}

void Registry::RemoveGauge(const std::string& name, const Labels& labels) {
  absl::MutexLock lock(&impl_->mutex);
  const auto it = impl_->gauges.find({name, labels});
  if (it == impl_->gauges.end()) return;
  impl_->gauge_families[name]->Remove(&it->second->wrapped());
  impl_->gauges.erase(it);
}

std::string Registry::Text() const {
  impl_->UpdateProcess();
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

const std::vector<double>& DurationBuckets() {
  static const std::vector<double> buckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                              0.5,   1,      2.5,   5,    10,    20,   30,  60};
  return buckets;
}

}  // namespace metrics
