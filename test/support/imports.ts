import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** Which files each file imports, by path from the repository's root. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/**
 * Reads the imports of all TypeScript files in some folders: `import` and `export … from`, of values and of types alike,
 * `import('…')`, and the types written `import('…').Name`. Packages and Node's own modules are left out.
 * @param root absolute path
 */
export function readImports(root: string, folders: readonly string[]): Imports {
  const files = folders.flatMap((folder) => {
    const entries = fs.readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
    return entries
      .filter((name) => /\.[cm]?[jt]s$/.test(name))
      .map((name) => path.posix.join(folder, name.split(path.sep).join('/')));
  });
  return new Map(
    files.map((file) => [file, importsOf(file, fs.readFileSync(path.join(root, file), 'utf8'))]),
  );
}

/** The files that a file imports. @param file path from the root, which those found are relative to as well */
export function importsOf(file: string, content: string): string[] {
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    const name = importedBy(node);
    if (name?.startsWith('.'))
      found.add(path.posix.join(path.posix.dirname(file), name).replace(/\.js$/, '.ts'));
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, content, ts.ScriptTarget.Latest));
  return [...found];
}

function importedBy(node: ts.Node): string | undefined {
  const specifier = specifierOf(node);
  return specifier && ts.isStringLiteralLike(specifier) ? specifier.text : undefined;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
    return node.argument.literal;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    return node.arguments[0];
  return undefined;
}
