// What the tests of this folder share.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace catalog {

// A folder of its own that goes with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }
  void Write(std::string_view name, std::string_view content) const;

 private:
  std::string path_;
};

// The rows of a file by the names of its header. Fields have no quotes in our data.
std::vector<std::map<std::string, std::string>> ReadCsv(const std::string& path);

}  // namespace catalog
