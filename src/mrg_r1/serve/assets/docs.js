"use strict";
// Lists the routes of /openapi.json.
(async () => {
  const element = (name, text, kind = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    made.className = kind;
    return made;
  };
  const document_ = await (await fetch("/openapi.json")).json();
  const resolve = (schema) => schema?.$ref
    ? document_.components.schemas[schema.$ref.split("/").pop()] : schema;
  const bodies = (content) => Object.entries(content ?? {}).map(([kind, { schema }]) => {
    const details = element("details", "");
    details.append(element("summary", kind), element("pre", JSON.stringify(resolve(schema) ?? {}, null, 2)));
    return details;
  });
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const section = element("section", "", "route");
      section.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", route.description ?? route.summary));
      const asked = bodies(route.requestBody?.content);
      if (asked.length) section.append(element("h3", "Request"), ...asked);
      const answered = bodies(route.responses["200"]?.content);
      if (answered.length) section.append(element("h3", "Answer"), ...answered);
      document.getElementById("routes").append(section);
    }
  }
})();
