#include "common/metrics/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RegistryTest, SameNameAndLabelsGiveTheSameMetric) {
  Registry registry;
  registry.GetCounter("a_total", "A.", {{"code", "200"}}).Add();
  registry.GetCounter("a_total", "A.", {{"code", "200"}}).Add(2);
  registry.GetCounter("a_total", "A.", {{"code", "500"}}).Add();
  EXPECT_EQ(registry.GetCounter("a_total", "A.", {{"code", "200"}}).value(), 3);
  EXPECT_THAT(registry.Text(), HasSubstr("# TYPE a_total counter\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("a_total{code=\"200\"} 3\n"));
}

TEST(RegistryTest, RemovedGaugeIsNotShownAnyMore) {
  Registry registry;
  registry.GetGauge("depth", "D.", {{"queue", "a"}}).Set(4);
  EXPECT_THAT(registry.Text(), HasSubstr("depth{queue=\"a\"} 4\n"));
  registry.RemoveGauge("depth", {{"queue", "a"}});
  registry.RemoveGauge("depth", {{"queue", "b"}});
  EXPECT_THAT(registry.Text(), Not(HasSubstr("depth{queue")));
}

TEST(RegistryTest, HistogramCountsIntoItsBuckets) {
  Registry registry;
  Histogram& histogram = registry.GetHistogram("wait_seconds", "W.", {0.1, 1});
  histogram.Observe(0.05);
  histogram.Observe(0.5);
  histogram.Observe(5);
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("wait_seconds_bucket{le=\"0.1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("wait_seconds_bucket{le=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("wait_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("wait_seconds_count 3\n"));
}

TEST(RegistryTest, ProcessAndBuildAreShownFromTheStart) {
  Registry registry("1.2.3");
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("build_info{version=\"1.2.3\"} 1\n"));
  for (const char* name :
       {"process_cpu_seconds_total", "process_resident_memory_bytes",
        "process_virtual_memory_bytes", "process_open_fds", "process_start_time_seconds"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + name + " "));
  }
}

}  // namespace
}  // namespace metrics
