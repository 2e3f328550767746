import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

/**
 * Java's own HTTP client as it comes: it prefers HTTP/2, so each request over plain TCP asks the
 * server to upgrade to h2c, which the server must not take for anything but HTTP/1.1.
 */
class HttpClientDefaults {
  private interface Check {
    void run() throws Exception;
  }

  private static final String URL = System.getenv("HEARTH_TEST_URL");
  private static final HttpClient client = HttpClient.newHttpClient();
  private static int passed = 0;
  private static int failed = 0;

  public static void main(String[] args) {
    check("GET", HttpClientDefaults::get);
    check("POST, twice on one client", HttpClientDefaults::post);
    check("POST of a large body", HttpClientDefaults::postLarge);
    check("POST with a body of unknown length", HttpClientDefaults::postChunked);
    check("eight POSTs at once", HttpClientDefaults::postAtOnce);
    check("a stream, line by line", HttpClientDefaults::stream);
    check("an error", HttpClientDefaults::error);
    System.out.printf("%d passed, %d failed%n", passed, failed);
    System.exit(failed == 0 ? 0 : 1);
  }

  private static void check(String name, Check check) {
    try {
      check.run();
      passed++;
    } catch (Exception | AssertionError fault) {
      failed++;
      System.out.printf("FAILED %s: %s%n", name, fault);
    }
  }

  private static void get() throws Exception {
    var request = request("/v1/models").GET().build();
    expect(200, client.send(request, BodyHandlers.ofString()), "\"object\":\"list\"");
  }

  private static void post() throws Exception {
    for (int i = 0; i < 2; i++) {
      expect(200, client.send(chat("Hello", false), BodyHandlers.ofString()), "chat.completion");
    }
  }

  private static void postLarge() throws Exception {
    var response = client.send(chat("word ".repeat(100_000), false), BodyHandlers.ofString());
    expect(400, response, "context_length_exceeded");
  }

  private static void postChunked() throws Exception {
    byte[] body = body("Hello", false).getBytes();
    var publisher = BodyPublishers.fromPublisher(BodyPublishers.ofByteArray(body));
    var request = request("/v1/chat/completions").POST(publisher).build();
    expect(200, client.send(request, BodyHandlers.ofString()), "chat.completion");
  }

  private static void postAtOnce() throws Exception {
    var answers = IntStream.range(0, 8)
        .mapToObj(i -> client.sendAsync(chat("Hello", false), BodyHandlers.ofString()))
        .toList();
    CompletableFuture.allOf(answers.toArray(CompletableFuture[]::new)).join();
    for (var answer : answers) expect(200, answer.join(), "chat.completion");
  }

  private static void stream() throws Exception {
    var response = client.send(chat("Hello", true), BodyHandlers.ofLines());
    List<String> lines = response.body().filter(line -> !line.isEmpty()).toList();
    if (response.statusCode() != 200) throw new AssertionError(response.statusCode());
    if (!lines.get(lines.size() - 1).equals("data: [DONE]")) throw new AssertionError(lines);
    for (String line : lines) {
      if (!line.startsWith("data: ")) throw new AssertionError(line);
    }
  }

  private static void error() throws Exception {
    var request = request("/v1/chat/completions").POST(BodyPublishers.ofString("{")).build();
    expect(400, client.send(request, BodyHandlers.ofString()), "invalid_json");
  }

  private static HttpRequest chat(String content, boolean stream) {
    var publisher = BodyPublishers.ofString(body(content, stream));
    return request("/v1/chat/completions").POST(publisher).build();
  }

  private static String body(String content, boolean stream) {
    return """
        {"messages":[{"role":"user","content":"%s"}],"max_tokens":8,"stream":%b}
        """.formatted(content, stream);
  }

  private static HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create(URL + path))
        .header("Authorization", "Bearer " + System.getenv("HEARTH_TEST_KEY"))
        .header("Content-Type", "application/json");
  }

  private static void expect(int status, HttpResponse<String> response, String text) {
    if (response.statusCode() != status || !response.body().contains(text)) {
      throw new AssertionError(response.statusCode() + " " + response.body());
    }
    if (response.version() != HttpClient.Version.HTTP_1_1) {
      throw new AssertionError(response.version());
    }
  }
}
