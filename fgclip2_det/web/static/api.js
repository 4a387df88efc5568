// The OpenAPI description as a page.

const make = (tag, ...content) => {
  const element = document.createElement(tag);
  element.append(...content);
  return element;
};

function typeOf(schema, schemas) {
  if (schema.$ref) return typeOf(schemas[schema.$ref.split('/').pop()], schemas);
  if (schema.oneOf) return schema.oneOf.map(each => typeOf(each, schemas)).join(' | ');
  if (schema.type === 'array') return `[${typeOf(schema.items, schemas)}]`;
  if (schema.properties) {
    const parts = Object.entries(schema.properties).map(([k, v]) => `${k}: ${typeOf(v, schemas)}`);
    return `{${parts.join(', ')}}`;
  }
  return schema.format ?? String(schema.type);
}

function fields(schema, schemas) {
  const table = make('table');
  for (const [name, own] of Object.entries(schema.properties ?? {})) {
    const needed = schema.required?.includes(name) ? ' *' : '';
    const standard = own.default === undefined ? '' : ` Default: ${own.default}.`;
    table.append(make('tr', make('td', make('code', name + needed)),
      make('td', make('code', typeOf(own, schemas))), make('td', (own.description ?? '') + standard)));
  }
  return table;
}

function operation(path, method, content, schemas) {
  const section = make('section', make('h2', make('code', `${method.toUpperCase()} ${path}`)),
    make('p', content.summary));
  for (const [kind, { schema }] of Object.entries(content.requestBody?.content ?? {})) {
    section.append(make('h3', kind), fields(schema, schemas));
  }
  const answers = make('table');
  for (const [status, { description, content: body }] of Object.entries(content.responses)) {
    const schema = Object.values(body)[0].schema;
    answers.append(make('tr', make('td', status), make('td', description),
      make('td', make('code', typeOf(schema, schemas)))));
  }
  section.append(make('h3', 'Answers'), answers);
  return section;
}

document.getElementById('origin').textContent = location.origin;
const description = await (await fetch('/api/openapi.json')).json();
document.getElementById('about').textContent = description.info.description;
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, content] of Object.entries(methods)) {
    document.getElementById('operations').append(
      operation(path, method, content, description.components.schemas));
  }
}
