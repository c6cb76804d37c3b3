#include "common/catalog/testing.h"

#include <cstdlib>
#include <sstream>

#include "absl/strings/str_format.h"

#include "common/base/check.h"
#include "common/base/files.h"

namespace catalog {
namespace {

std::vector<std::string> Split(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, ',');) fields.push_back(field);
  if (line.ends_with(',')) fields.emplace_back();
  return fields;
}

}  // namespace

TestFolder::TestFolder() {
  std::string name = "/tmp/catalog_test_XXXXXX";
  CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TestFolder::~TestFolder() { base::RemoveAll(path_).IgnoreError(); }

void TestFolder::Write(std::string_view name, std::string_view content) const {
  CHECK_OK(base::WriteFileAtomic(absl::StrFormat("%s/%s", path_, name), content));
}

std::vector<std::map<std::string, std::string>> ReadCsv(const std::string& path) {
  const auto text = base::ReadFile(path);
  CHECK_OK(text);
  std::istringstream in(*text);
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> names = Split(line);
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(in, line)) {
    const std::vector<std::string> fields = Split(line);
    CHECK(fields.size() == names.size());
    std::map<std::string, std::string>& row = rows.emplace_back();
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = fields[i];
  }
  return rows;
}

}  // namespace catalog
